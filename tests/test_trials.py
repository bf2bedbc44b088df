"""Which method goes with which labels, network and features: everything that is refused is refused in words."""
import pytest

torch = pytest.importorskip("torch")
from valor_lab import models, training
from valor_lab.core import ParameterError
from valor_lab.methods import OBJECTIVES
from valor_lab.training import TAKES, try_step

BACKBONES = ("han", "ppl", "ave", "mm-pyramid", "mgn", "mm-cse", "cmpae", "coleaf", "nrep", "leap", "psp", "cmbs", "em-mil-conv")


@pytest.fixture(autouse=True)
def one_thread(): torch.set_num_threads(1)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_method_runs_a_step_or_is_refused_in_a_sentence(backbone):
    "Anything but a `ParameterError` would come through here."
    said = {(m, l): try_step(m, backbone, TAKES.get(backbone, "pooled"), l) for m in list(OBJECTIVES) for l in ("weak", "soft")}
    assert all("\n" not in s and (not s or len(s) > 20) for s in said.values())
    if backbone in ("psp", "cmbs", "em-mil-conv"):
        assert all(said.values()) and all("another task" in said[m, "soft"] for m in ("valor", "base", "video"))
    else: assert not said["valor", "soft"] and not said["base", "weak"] and "needs labels_audio" in said["valor", "weak"]


@pytest.mark.parametrize("method,backbone,features,says", [
    ("base", "cmpae", "pooled", "80|frames"), ("base", "han", "frames", "pool_frames"), ("base", "han", "tokens", "pool_clap_tokens"),
    ("base", "han", "places", "[6, 10, 7, 7, 12]"), ("mgn", "han", "pooled", "token_logits"), ("cmpae", "han", "pooled", "uncertainty"),
    ("no-modality", "cmpae", "frames", "modality_attention"), ("ppl", "mgn", "pooled", "features"), ("video", "leap", "pooled", "gradient of video_prob"),
    ("em-mil-ours", "nrep", "pooled", "heads.time")])
def test_what_is_refused_names_what_is_lacking(method, backbone, features, says):
    said = try_step(method, backbone, features, "soft")
    assert said and any(word in said for word in says.split("|")), said


@pytest.mark.parametrize("terms", ["dict(video=output.video_prob.mean())", "dict(video=output.video_prob.mean().detach())", "{}", "None", "3.",
                                   "output.audio_prob.mean()", "dict(each=output.audio_prob)", "dict(video=.5)"])
def test_a_loss_of_ones_own_that_teaches_nothing_or_is_none_is_refused_in_a_sentence(terms, registries, tmp_path):
    "LEAP's `video_prob` has no gradient, which an objective of somebody's own need not know."
    from valor_lab.methods import Objective, register_objective
    space = {"Objective": Objective}
    exec(f"class Own(Objective):\n    def loss(self, model, batch, output): return {terms}", space)
    register_objective("own", space["Own"])
    said = try_step("own", "leap")
    assert said.startswith(("the loss of Own (video) does not depend", "Own.loss returned ")) and "expected" in said or "gradient" in said
    data = training.toy_set(8, seed=0)
    config = training.override(training.TrainConfig(objective="own", backbone="leap"), dict(epochs=1, d_model=16, d_ff=16, n_heads=2))
    net = training.build_model(config, training.find_task("avvp").tensors(data), torch.randn(len(data.vocab), 6))
    with pytest.raises(ParameterError, match="Own"): training.fit(config, data, tmp_path/"run", model=net, device="cpu", progress=False)
    assert (try_step("own", "han") == "") == (terms == "dict(video=output.video_prob.mean())")


@pytest.mark.parametrize("method", ["video", "psp", "psp-full", "cmran", "cmran-full", "cmbs", "cmbs-full"])
def test_networks_of_ave_learn_by_their_own_losses(method):
    said = {b: try_step(method, b, TAKES.get(b, "pooled"), "truth", "ave", protocol="released" if b in TAKES else "average")
            for b in ("han-average", "psp", "cmran", "cmbs")}
    own = {"video": {"han-average"}, "cmran": {"cmran"}, "cmran-full": {"cmran"}}.get(method, {method.removesuffix("-full")})
    runs = {b for b, s in said.items() if not s}
    assert runs == own | ({"cmbs"} if method.startswith("cmran") else set()), said


def test_fully_supervised_losses_and_psps_share_ask_for_annotated_seconds():
    assert "annotated seconds" in try_step("psp", "psp", "places", "dense", "ave", protocol="released")
    assert try_step("psp", "psp", "places", "weak", "ave", protocol="released", options=dict(target="one-hot")) == ""
    assert try_step("cmran-full", "cmran", "places", "soft", "ave", protocol="released", options=dict(source="labels")) == ""
    assert "annotated seconds" in try_step("cmbs-full", "cmbs", "places", "weak", "ave", protocol="released")


def test_a_trial_leaves_chance_alone_and_refuses_unknown_names():
    torch.manual_seed(3)
    a = torch.rand(1)
    torch.manual_seed(3)
    try_step("valor")
    assert torch.equal(a, torch.rand(1))
    for wrong, says in ((dict(features="pictures"), "features='pictures'"), (dict(labels="guessed"), "labels='guessed'"), (dict(backbone="hen"), "backbone='hen'")):
        assert says in try_step("valor", **wrong)
    table = training.trial_table(("base",), ("han", "cmpae"), ("weak",))
    assert table.shape == (1, 2) and (table == "yes").all().all()
