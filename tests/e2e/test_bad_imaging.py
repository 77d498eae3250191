"""Whatever a user gets wrong in an imaging study: a clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

import json

import pytest

SMALL = ("experiment=prostate_small", "cohort.n=60", "model.steps=3", "model.width=8", "trainer.log=false")


@pytest.fixture
def prostate(scanwise_command, tmp_path):
    """The command on very few virtual prostates, with a folder and a cache of its own."""

    def run(*typed: str):
        return scanwise_command(*SMALL, f"out={tmp_path / 'runs'}", f"cohort.cache={tmp_path / 'cache'}", *typed)

    return run


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("cohort.organ.tissues.muscle.t2_s.mean=2.0",), ("T2", "T1")),
        (("cohort.organ.tissues.muscle.adc_mm2_per_s.mean=-0.001",), ("adc", "muscle")),
        (("~cohort.organ.tissues.muscle.t1_s.source",), ("source", "muscle.t1_s")),
        (("~cohort.organ.prevalence.confidence",), ("confidence", "prevalence")),
        (("menu.modalities.dwi.echo_time_s=5.0",), ("TE", "TR")),
        (("menu.modalities.t2w.matrix=[160,160]",), ("t2w", "matrix")),
        (("menu.modalities.t2w.train_length=65",), ("echo train", "64")),
        (("menu.modalities.t2w.schemes=[equispacd]",), ("equispacd", "equispaced")),
        (("menu.modalities.t2w.schemes=[poisson_disc_2d]",), ("'poisson_disc_2d' is for phase encodes", "what['ky']")),
        (("menu.modalities.t2w.snr=0",), ("SNR",)),
        (("menu.modalities.dce.wait_setups=[dce_01]",), ("waiting", "12")),
        (("cohort.worlds=[1,1]",), ("worlds",)),
        (("cohort.organ.prevalence.value=0.0",), ("prevalence",)),
        (("model.grid=[20,20]",), ("grid",)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_is_not_physical_or_does_not_fit_is_refused(prostate, tmp_path, typed, words):
    answer = prostate(*typed)

    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert "->" in answer.err, "every message names a cure"
    for word in words:
        assert word in answer.err
    assert not (tmp_path / "runs").exists()


def test_a_model_of_tests_does_not_read_images(scanwise_command, tmp_path):
    answer = scanwise_command(
        "experiment=prostate_small",
        "model=amortised",
        "~model.steps",
        "cohort.n=60",
        f"out={tmp_path / 'runs'}",
        f"cohort.cache={tmp_path / 'cache'}",
    )

    assert answer.code == 2
    assert "'t2w' is an imaging modality" in answer.err
    assert "model=imaging" in answer.err


def test_a_corrupt_cache_is_found_and_made_again(prostate, tmp_path):
    assert prostate("stage=fit", "search.n_trials=8").code == 0
    (manifest,) = (tmp_path / "runs" / "prostate_small").glob("*/manifest.json")
    before = json.loads(manifest.read_text("utf-8"))["data_hash"]
    (images,) = (tmp_path / "cache").glob("*/dwi-*.npy")
    sound = images.read_bytes()
    images.write_bytes(sound[:5000] + b"damage" + sound[5006:])

    answer = prostate("stage=search", "search.n_trials=8")

    assert answer.code == 0, answer.err
    assert images.read_bytes() == sound
    assert json.loads(manifest.read_text("utf-8"))["data_hash"] == before


def test_a_protocol_for_another_shot_table_is_refused(prostate, tmp_path):
    answer = prostate("+model.only='t2w=1x63'")

    assert answer.code == 2
    assert "64 shots, but the protocol counts 63" in answer.err


def test_patterns_are_learned_through_the_command(prostate, tmp_path):
    typed = ("search=learned", "search.levels=2", "search.starts=1", "search.steps=3")

    answer = prostate("stage=fit", *typed)
    assert answer.code == 0, answer.err
    answer = prostate("stage=search", *typed)

    assert answer.code == 0, answer.err
    (result,) = (tmp_path / "runs" / "prostate_small").glob("*/search/r0f0.json")
    found = json.loads(result.read_text("utf-8"))
    assert found["how"] == "learned by gradient (bernoulli), 2 budgets of money, 2 starts each"
    assert len(found["protocols"]) > 6
