"""The layouts in which the networks were released, written out from their specifications: key -> shape."""
def lin(d, k, a, b, bias=True):
    d[f"{k}.weight"] = [a, b]
    if bias: d[f"{k}.bias"] = [a]
def norm(d, k, n): d[f"{k}.weight"] = d[f"{k}.bias"] = [n]
def mha(d, k, e):
    d[f"{k}.in_proj_weight"], d[f"{k}.in_proj_bias"] = [3*e, e], [3*e]; lin(d, f"{k}.out_proj", e, e)
def pyr_layer(d, k, e=512, f=512):
    for n in range(4): lin(d, f"{k}.self_attn.linears.{n}", e, e)
    lin(d, f"{k}.feed_forward.w_1", f, e), lin(d, f"{k}.feed_forward.w_2", e, f)
    for n in (0, 1): norm(d, f"{k}.sublayer.{n}.norm", e)
    norm(d, f"{k}.self_attn.layer_norm", e)
def template(d, k, e=512):
    for n in range(4): lin(d, f"{k}.multiheadattn.linears.{n}", e, e)
    norm(d, f"{k}.multiheadattn.layer_norm", e); lin(d, f"{k}.feedforward.w_1", e, e), lin(d, f"{k}.feedforward.w_2", e, e)
def pyramid(d):
    for k, n in dict(fc_a=128, fc_v=2048, fc_st=512, fc_fusion=1024).items(): lin(d, k, 512, n)
    for i in range(4):
        for b in ("vsablock", "asablock", "cmablock"): pyr_layer(d, f"MMP.capture.msa.{i}.{b}.layer")
        for g in ("lv1", "lv2", "la1", "la2"): lin(d, f"MMP.capture.msa.{i}.{g}", 512, 1024)
        for net in ("vnetwork", "anetwork"):
            for a, b, s in (("conv1", "net.0", 3), ("conv2", "net.2", 1)):
                for k in (a, b): d[f"MMP.capture.{net}.{i}.{k}.weight"], d[f"MMP.capture.{net}.{i}.{k}.bias"] = [512, 512, s], [512]
    for k in ("vadaptiveinteraction", "aadaptiveinteraction"): pyr_layer(d, f"MMP.fusion.{k}")
    for k in ("vselectfusion", "aselectfusion"): lin(d, f"MMP.fusion.{k}", 1, 512)
    template(d, "MMP.capture"), template(d, "MMP.fusion")
def mm_pyramid():
    d = {}; pyramid(d)
    for k in ("fc_prob", "fc_frame_att", "fc_av_att"): lin(d, k, 25, 512)
    return d
def leap():
    d = {}; pyramid(d); lin(d, "fc_l", 512, 300)
    for x in ("lv", "la"):
        for i in (0, 1): pyr_layer(d, f"AVL.{x}_cma_network.{i}")
    template(d, "AVL"); lin(d, "fc_la", 1, 512), lin(d, "fc_lv", 1, 512)
    return d
def mgn():
    d = {"audio_token": [25, 128], "visual_token": [25, 128]}
    for k, n in dict(fc_a=128, fc_v=2048, fc_st=512, fc_fusion=256).items(): lin(d, k, 128, n)
    def grouping(k, g):
        for n in ("norm_tokens", "norm_x", "norm_post_tokens", "norm_new_x"): norm(d, f"{k}.{n}", 128)
        lin(d, f"{k}.mlp_inter.fc1", 64, g), lin(d, f"{k}.mlp_inter.fc2", g, 64)
        for n in ("attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.proj"): lin(d, f"{k}.pre_assign_attn.{n}", 128, 128)
        norm(d, f"{k}.pre_assign_attn.norm2", 128), norm(d, f"{k}.pre_assign_attn.norm_post", 128)
        lin(d, f"{k}.pre_assign_attn.mlp.fc1", 512, 128), lin(d, f"{k}.pre_assign_attn.mlp.fc2", 128, 512)
        for n in ("q_proj", "k_proj", "v_proj", "proj"): lin(d, f"{k}.assign.{n}", 128, 128)
        lin(d, f"{k}.mlp_channels.fc1", 512, 128), lin(d, f"{k}.mlp_channels.fc2", 128, 512)
    for t, depth in dict(audio_cug=3, visual_cug=3, av_mcg=6).items():
        for i in range(depth):
            k = f"{t}.blocks.{i}"
            norm(d, f"{k}.norm1", 128), norm(d, f"{k}.norm2", 128), lin(d, f"{k}.attn.qkv", 384, 128), lin(d, f"{k}.attn.proj", 128, 128)
            lin(d, f"{k}.mlp.fc1", 512, 128), lin(d, f"{k}.mlp.fc2", 128, 512)
        grouping(f"{t}.grouping", 25)
    grouping("audio_cug.han_encoder", 10)
    for k in ("fc_prob", "fc_prob_a", "fc_prob_v"): lin(d, k, 1, 128)
    lin(d, "fc_cls", 25, 128)
    return d
def han_layer(d, k, e=512, f=512):
    mha(d, f"{k}.self_attn", e), mha(d, f"{k}.cm_attn", e), lin(d, f"{k}.linear1", f, e), lin(d, f"{k}.linear2", e, f)
    norm(d, f"{k}.norm1", e), norm(d, f"{k}.norm2", e)
def cmpae():
    d = {}
    for k, n in {"fc_a.0": 128, "fc_v.0": 2048, "fc_st.0": 512, "fc_fusion.0": 1024, "classifier1.0": 512, "v2a.0": 512, "a2v.0": 512, "fc_global.0": 512}.items(): lin(d, k, 512, n)
    for k, n in {"classifier2": 25, "fc_prob": 25, "fc_prob_beta": 25, "fc_frame_att": 50, "fc_global.2": 25}.items(): lin(d, k, n, 512)
    han_layer(d, "hat_encoder.layers.0"), norm(d, "hat_encoder.norm1", 512), norm(d, "hat_encoder.norm2", 512)
    return d
def coleaf(): return cmpae() | {f"hat_encoder.layers.0.cls_tokens_{m}": [1, 25, 512] for m in "av"}
def nrep():
    d = {}
    for k, n in {"fc_a.0": 768, "fc_v.0": 768, "fc_st.0": 512, "fc_fusion.0": 1024, "fc_a_sl.0": 512, "fc_v_sl.0": 512}.items(): lin(d, k, 512, n)
    for k, n in {"fc_sl_fore.0": 25, "fc_sl_back.0": 25, "fc_frame_att": 50, "fc_temporal_att": 50, "fc_joint_sl.0": 50}.items(): lin(d, k, n, 512)
    han_layer(d, "inter_encoder.layers.0"), norm(d, "inter_encoder.norm1", 512), norm(d, "inter_encoder.norm2", 512)
    return d
def lsld():
    d = {}; lin(d, "fc_a", 512, 512), lin(d, "fc_v", 512, 512)
    for k in ("fc_prob", "fc_frame_att", "fc_av_att"): lin(d, k, 25, 512)
    for i in range(4): han_layer(d, f"hat_encoder.layers.{i}")
    norm(d, "hat_encoder.norm1", 512), norm(d, "hat_encoder.norm2", 512)
    return d
def mm_cse():
    d = {}
    for k, n in dict(fc_a=768, fc_v=768, fc_st=512, fc_fusion=512).items(): lin(d, k, 256, n)
    for j in range(26): lin(d, f"a_unmix.{j}.1", 128, 256), lin(d, f"v_unmix.{j}.1", 128, 256), lin(d, f"v_unmix.{j}.4", 128, 128)
    for m in "av": lin(d, f"alpha_{m}.model.1", 128, 256), lin(d, f"alpha_{m}.model.4", 1, 128), lin(d, f"reduce_{m}.0", 128, 256)
    for i in range(4):
        k = f"av_enhance.layers.{i}"
        mha(d, f"{k}.SECM_1.attn", 128), mha(d, f"{k}.SECM_2.attn", 128)
        for n in ("LGSF_1.glob1", "LGSF_1.glob2", "LGSF_2.glob", "fc1", "fc2"): lin(d, f"{k}.{n}", 128, 128)
        norm(d, f"{k}.norm1", 128), lin(d, f"{k}.linear1", 512, 128), lin(d, f"{k}.linear2", 128, 512)
    norm(d, "av_enhance.final_norm_a", 128), norm(d, "av_enhance.final_norm_v", 128)
    for k in ("fc_prob", "fc_frame_att", "fc_av_att"):
        for j in range(25): lin(d, f"{k}.fc.{j}", 1, 128)
    for a, b in (("a_recon.0", "a_recon.2"), ("v_recon.model.1", "v_recon.model.3")): lin(d, a, 256, 3328), lin(d, b, 256, 256)
    return d
def psp(full):
    d = {}; L = lambda k, a, b: lin(d, k, a, b, False)
    lin(d, "linear_v", 128, 512), lin(d, "attention.affine_audio", 512, 128), lin(d, "attention.affine_video", 512, 512)
    L("attention.affine_v", 49, 512), L("attention.affine_g", 49, 512), L("attention.affine_h", 1, 49)
    for m in ("audio", "video"):
        for s in ("", "_reverse"):
            for k, shape in dict(weight_ih=[512, 128], weight_hh=[512, 128], bias_ih=[512], bias_hh=[512]).items(): d[f"lstm_a_v.lstm_{m}.{k}_l0{s}"] = shape
    for k in ("v_L1", "v_L2", "a_L1", "a_L2", *(("v_fc", "a_fc") if full else ())): L(f"psp.{k}", 256, 256)
    norm(d, "psp.layer_norm", 256), L("L1", 64, 256), L("L2", 29, 64)
    if full:
        L("fa.0", 256, 128), L("fa.1", 128, 256), L("fv.0", 256, 512), L("fv.1", 128, 256)
        for m in "va": L(f"{m}_classify.L1", 64, 256), L(f"{m}_classify.L2", 28, 64)
        lin(d, "L3", 64, 256), lin(d, "L4", 2, 64)
    else: L("W3", 1, 29), L("W1", 1, 256), L("W2", 1, 64); d["temperature"] = [1, 29]
    return d
def enc_layer(d, k, f, cross=False):
    mha(d, f"{k}.self_attn", 256)
    if cross: mha(d, f"{k}.multihead_attn", 256)
    lin(d, f"{k}.linear1", f, 256), lin(d, f"{k}.linear2", 256, f), norm(d, f"{k}.norm1", 256), norm(d, f"{k}.norm2", 256)
def streams(d, v, a, fe, fd):
    for m, n in (("video", v), ("audio", a)):
        lin(d, f"{m}_encoder.affine_matrix", 256, n), lin(d, f"{m}_decoder.affine_matrix", 256, n)
        for i in (0, 1): enc_layer(d, f"{m}_encoder.encoder.layers.{i}", fe)
        enc_layer(d, f"{m}_encoder.encoder_layer", fe), enc_layer(d, f"{m}_decoder.decoder.layers.0", fd, True), enc_layer(d, f"{m}_decoder.decoder_layer", fd, True)
def places(d):
    for k, (a, b) in dict(video_1=(512, 512), audio_1=(512, 128), bottleneck=(256, 512), v_c_att=(512, 256), video_2=(256, 512), audio_2=(256, 128), v_s_att=(1, 256)).items():
        lin(d, f"spatial_channel_att.affine_{k}", a, b)
    lin(d, "v_fc", 512, 512)
def cmran(full):
    d = {}; places(d)
    lin(d, "spatial_channel_att.affine_video_guided_1", 64, 512), lin(d, "spatial_channel_att.affine_video_guided_2", 128, 64)
    streams(d, 512, 128, 2048, 2048)
    mha(d, "AVInter.video_multihead", 256), norm(d, "AVInter.norm1", 256)
    lin(d, "localize_module.classifier", 1, 256), lin(d, "localize_module.event_classifier", 28 if full else 29, 256)
    return d
def cmbs(full):
    d = {}; places(d); k = "spatial_channel_att"
    lin(d, f"{k}.video_query", 128, 512), lin(d, f"{k}.video_key", 128, 512), lin(d, f"{k}.video_value", 512, 512), norm(d, f"{k}.norm", 512)
    lin(d, f"{k}.affine_video_ave", 256, 512), lin(d, f"{k}.affine_video_3", 256, 512), lin(d, f"{k}.ave_v_att", 1, 256), lin(d, f"{k}.ave_bottleneck", 256, 512)
    if full:
        for m, h, n in (("audio", 128, 128), ("visual", 256, 512)):
            for s in ("", "_reverse"):
                for w, shape in dict(weight_ih=[4*h, n], weight_hh=[4*h, h], bias_ih=[4*h], bias_hh=[4*h]).items(): d[f"audio_visual_rnn_layer.{m}_rnn.{w}_l0{s}"] = shape
    streams(d, 512, 256 if full else 128, 1024 if full else 2048, 1024)
    for m in ("audio", "video"): lin(d, f"{m}_gated.0", 1, 256), lin(d, f"{m}_cas", 28 if full else 29, 256)
    for m in ("AVInter", "VAInter"): mha(d, f"{m}.video_multihead", 256), norm(d, f"{m}.norm1", 256)
    if full: lin(d, "localize_module.classifier", 1, 256), lin(d, "localize_module.event_classifier", 28, 256), norm(d, "video_norm", 256), norm(d, "audio_norm", 256)
    else: d["CAS_model.classifier.0.weight"] = [29, 256, 1]; lin(d, "classifier", 1, 256)
    return d
def em_mil():
    d = {}
    for m in ("rgb", "flow"):
        for k, n in (("key", 1), ("cls", 20)):
            d[f"{k}_{m}.0.weight"], d[f"{k}_{m}.0.bias"] = [256, 1024, 3], [256]; lin(d, f"{k}_tail_{m}.1", n, 256)
    return d
LAYOUTS = {   # name -> (layout, keys, parameters)
    "mm_pyramid": (mm_pyramid(), 394, 43_995_725), "leap": (leap(), 480, 52_005_380), "mgn": (mgn(), 322, 4_366_065), "cmpae": (cmpae(), 46, 5_660_822),
    "coleaf": (coleaf(), 48, 5_686_422), "nrep": (nrep(), 42, 4_833_480), "lsld": (lsld(), 78, 11_080_267), "mm_cse": (mm_cse(), 434, 6_160_845),
    "psp-full": (psp(True), 47, 1_667_251), "psp-weak": (psp(False), 37, 1_254_251), "cmran-full": (cmran(True), 174, 15_863_262), "cmran-weak": (cmran(False), 174, 15_863_519),
    "cmbs-full": (cmbs(True), 220, 13_544_537), "cmbs-weak": (cmbs(False), 199, 14_789_439), "em_mil": (em_mil(), 16, 3_157_546)}
