"""PSP, CMRAN and CMBS written down slowly from their specifications, second by second and place by place, in double precision."""
import torch


def linear(s, name, x): return x @ s[f"{name}.weight"].T + s.get(f"{name}.bias", 0)


def norm(s, name, x, eps=1e-5):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean)/(var + eps).sqrt()*s[f"{name}.weight"] + s[f"{name}.bias"]


def lstm_way(s, name, way, xs):
    "One direction over a list of vectors; gates in the order i f g o."
    wi, wh, b = s[f"{name}.weight_ih_l0{way}"], s[f"{name}.weight_hh_l0{way}"], s[f"{name}.bias_ih_l0{way}"] + s[f"{name}.bias_hh_l0{way}"]
    d = wh.shape[1]
    h, c, out = torch.zeros(d).double(), torch.zeros(d).double(), []
    for x in xs:
        z = wi @ x + wh @ h + b
        i, f, g, o = z[:d].sigmoid(), z[d:2*d].sigmoid(), z[2*d:3*d].tanh(), z[3*d:].sigmoid()
        c = f*c + i*g
        h = o*c.tanh()
        out.append(h)
    return out


def lstm(s, name, x):   # [T,D] -> [T,2d]
    there, back = lstm_way(s, name, "", list(x)), lstm_way(s, name, "_reverse", list(x.flip(0)))[::-1]
    return torch.stack([torch.cat(p) for p in zip(there, back)])


def softmax(z): return z.exp()/z.exp().sum()


def attention(s, name, query, memory, heads):   # [T,d] [S,d]
    d = query.shape[1]
    w, b = s[f"{name}.in_proj_weight"], s[f"{name}.in_proj_bias"]
    q, k, v = query @ w[:d].T + b[:d], memory @ w[d:2*d].T + b[d:2*d], memory @ w[2*d:].T + b[2*d:]
    each, n = [], d//heads
    for h in range(heads):
        part = slice(h*n, (h + 1)*n)
        each.append(torch.stack([softmax(k[:, part] @ q[t, part]/n**.5) @ v[:, part] for t in range(len(query))]))
    return linear(s, f"{name}.out_proj", torch.cat(each, 1))


# -- PSP

def psp(s, audio, maps, full):
    tau = .099 if full else .095
    T = len(audio)
    a = audio @ s["fa.0.weight"].T @ s["fa.1.weight"].T if full else audio
    seen = []
    for t in range(T):
        V = maps[t].reshape(49, -1)
        g = linear(s, "attention.affine_audio", a[t]).relu()
        z = []
        for p in range(49):
            h = linear(s, "attention.affine_video", V[p]).relu()
            content = s["attention.affine_v.weight"] @ h + (s["attention.affine_g.weight"] @ g)[p]      # the sound's vector on the axis of places
            z.append((s["attention.affine_h.weight"] @ content.tanh())[0])
        seen.append(softmax(torch.stack(z)) @ V)
    v = torch.stack(seen)
    v = v @ s["fv.0.weight"].T @ s["fv.1.weight"].T if full else linear(s, "linear_v", v)
    a, v = lstm(s, "lstm_a_v.lstm_audio", a), lstm(s, "lstm_a_v.lstm_video", v)
    v1, v2, a1, a2 = ((x @ s[f"psp.{n}.weight"].T).relu() for x, n in ((v, "v_L1"), (v, "v_L2"), (a, "a_L1"), (a, "a_L2")))
    R = (v2 @ a1.T/16).relu()

    def share(r):
        beta = r/(r.sum(1, keepdim=True) + 1e-8)
        gamma = torch.where(beta > tau, beta, torch.zeros_like(beta))
        return gamma/(gamma.sum(1, keepdim=True) + 1e-8) if full else gamma
    v, a = v + share(R) @ a2, a + share(R.T) @ v1
    if full: v, a = (v @ s["psp.v_fc.weight"].T).relu(), (a @ s["psp.a_fc.weight"].T).relu()
    v, a = norm(s, "psp.layer_norm", v, 1e-6), norm(s, "psp.layer_norm", a, 1e-6)
    logits = ((v + a)/2 @ s["L1.weight"].T).relu() @ s["L2.weight"].T
    if full:
        cosine = torch.stack([v[t] @ a[t]/(v[t].norm()*a[t].norm()) for t in range(T)])
        return dict(segment_logits=logits, similarity=cosine)
    logits = torch.stack([(s["W3.weight"] @ x).relu().sigmoid()*x for x in logits])
    return dict(segment_logits=logits, video_prob=softmax(logits.mean(0)))


# -- CMRAN and CMBS

def channels(s, at, x, S):      # [49,D] -> [D]
    both = torch.stack([linear(s, f"{at}.affine_audio_1", x).relu()*linear(s, f"{at}.affine_video_1", S[p]).relu() for p in range(49)])
    return linear(s, f"{at}.affine_v_c_att", linear(s, f"{at}.affine_bottleneck", both.mean(0)).relu()).sigmoid()


def places(s, at, x, V):        # [49,D] -> [D]
    z = torch.stack([linear(s, f"{at}.affine_v_s_att", linear(s, f"{at}.affine_audio_2", x).relu()
                            * linear(s, f"{at}.affine_video_2", V[p]).relu()).tanh()[0] for p in range(49)])
    return softmax(z) @ V


def feed(s, at, h): return norm(s, f"{at}.norm2", h + linear(s, f"{at}.linear2", linear(s, f"{at}.linear1", h).relu()))


def encoder(s, at, x):
    x = linear(s, f"{at}.affine_matrix", x)
    for i in (0, 1):
        layer = f"{at}.encoder.layers.{i}"
        x = feed(s, layer, norm(s, f"{layer}.norm1", x + attention(s, f"{layer}.self_attn", x, x, 4)))
    return x


def decoder(s, at, query, memory):
    q = linear(s, f"{at}.affine_matrix", query)
    layer = f"{at}.decoder.layers.0"
    return feed(s, layer, norm(s, f"{layer}.norm1", q + attention(s, f"{layer}.multihead_attn", q, torch.cat([memory, q]), 4)))


def interaction(s, at, x, z, heads):
    g = x*z
    return norm(s, f"{at}.norm1", g + attention(s, f"{at}.video_multihead", g, torch.cat([z, x]), heads))


def cmran(s, audio, maps, full):
    at, seen = "spatial_channel_att", []
    for t in range(len(audio)):
        V = linear(s, "v_fc", maps[t].reshape(49, -1)).relu()
        seen.append(places(s, at, audio[t], V*(1 + channels(s, at, audio[t], V))))
    v = torch.stack(seen)
    q_a = decoder(s, "audio_decoder", audio, encoder(s, "video_encoder", v))
    q_v = decoder(s, "video_decoder", v, encoder(s, "audio_encoder", audio))
    f = interaction(s, "AVInter", q_v, q_a, 4 if full else 2)
    r, event = linear(s, "localize_module.classifier", f)[:, 0], linear(s, "localize_module.event_classifier", f.max(0)[0])
    if full: return dict(segment_logits=r, video_logits=event)
    fused = torch.stack([r[t].sigmoid()*event for t in range(len(r))])
    return dict(segment_logits=r, video_logits=event, video_prob=softmax(fused.max(0)[0]))


def own_places(s, x, V, beta):
    at = "spatial_channel_att"
    q, k, v = (linear(s, f"{at}.video_{n}", V) for n in ("query", "key", "value"))
    S = norm(s, f"{at}.norm", V + torch.stack([softmax(k @ q[p]) @ v for p in range(49)]))              # not scaled
    m = linear(s, f"{at}.affine_video_ave", S.mean(0)).relu()
    z = torch.stack([linear(s, f"{at}.ave_v_att", m*linear(s, f"{at}.affine_video_3", S[p]).relu()).tanh()[0] for p in range(49)])
    r_self = softmax(z) @ S
    r = places(s, at, x, V*(1 + channels(s, at, x, S)))
    return r + beta*r_self.sigmoid()*r


def greatest(x): return torch.stack([x[:, c].sort(descending=True)[0][:4].mean() for c in range(x.shape[1])])


def cmbs(s, audio, maps, full):
    beta, alpha, gamma = (.4, .1, .3) if full else (.5, .2, .5)
    v = torch.stack([own_places(s, audio[t], linear(s, "v_fc", maps[t].reshape(49, -1)).relu(), beta) for t in range(len(audio))])
    a = audio
    if full: a, v = lstm(s, "audio_visual_rnn_layer.audio_rnn", a), lstm(s, "audio_visual_rnn_layer.visual_rnn", v)
    K_v, K_a = encoder(s, "video_encoder", v), encoder(s, "audio_encoder", a)
    q_a, q_v = decoder(s, "audio_decoder", a, K_v), decoder(s, "video_decoder", v, K_a)
    heads = 4 if full else 2
    if full:
        g_a, g_v = linear(s, "audio_gated.0", K_a).sigmoid(), linear(s, "video_gated.0", K_v).sigmoid()
        q_v, q_a = q_v*(1 + alpha*g_a), q_a*(1 + alpha*g_v)
        e = (greatest(linear(s, "audio_cas", q_a)) + greatest(linear(s, "video_cas", q_v)))/2
        q_v = interaction(s, "AVInter", q_v, q_a, heads)
        q_a = interaction(s, "VAInter", q_a, q_v, heads)
        f = (q_v + q_a)/2
        return dict(segment_logits=linear(s, "localize_module.classifier", f)[:, 0], gate=(g_a*g_v)[:, 0], evidence=e,
                    video_logits=linear(s, "localize_module.event_classifier", f.max(0)[0]) + gamma*e)
    g_1, g_2 = linear(s, "audio_gated.0", K_v).sigmoid(), linear(s, "video_gated.0", K_a).sigmoid()      # the names are crossed
    g = ((g_1 + g_2)/2)[:, 0]
    q_v, q_a = (1 - alpha)*q_v + alpha*g_1*q_v, (1 - alpha)*q_a + alpha*g_2*q_a
    u_v, u_a = linear(s, "video_cas", q_v).sigmoid(), linear(s, "audio_cas", q_a).sigmoid()
    q_v = interaction(s, "AVInter", q_v, q_a, heads)
    q_a = interaction(s, "VAInter", q_a, q_v, heads)
    x = (q_v + q_a)/2 @ s["CAS_model.classifier.0.weight"][:, :, 0].T
    raw = greatest(gamma*u_v*x + gamma*u_a*x)
    fused = torch.stack([g[t]*raw for t in range(len(g))])
    return dict(gate=g, video_logits=raw, video_prob=softmax(fused.max(0)[0]))


FORWARD = dict(psp=psp, cmran=cmran, cmbs=cmbs)
