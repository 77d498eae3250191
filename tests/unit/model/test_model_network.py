"""The network against loops over equations (1) and (2), written down a second time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from model_scenario import COLUMNS, make_patients, sigmoid

from scanwise.design import panel_features
from scanwise.model import DiagnosisNetwork
from scanwise.model.encoders import PanelEncoder

MEMBERS, EVIDENCE, HIDDEN, PATIENTS = 2, 4, 3, 6
SHOT = {"marker": [0], "exam": [0, 0, 1, 1, 1, 2]}
N_SHOTS = {"marker": 1, "exam": 3}


@pytest.fixture(scope="module")
def network() -> DiagnosisNetwork:
    """A network all of whose numbers are drawn at random, none of them zero."""
    network = DiagnosisNetwork(
        panels={name: {"n_shots": N_SHOTS[name], "shot": SHOT[name]} for name in SHOT},
        n_members=MEMBERS,
        n_evidence=EVIDENCE,
        n_hidden=HIDDEN,
        prior_precision=1.0,
        learning_rate=0.01,
        steps=10,
        seed=0,
    )
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for encoder in network.encoders.values():
            encoder.mean.copy_(torch.randn(encoder.mean.shape, generator=generator))
            encoder.scale.copy_(0.5 + torch.rand(encoder.scale.shape, generator=generator))
        network.calibration.copy_(0.3 * torch.randn(2, 3, generator=generator))
    return network.eval()


@pytest.fixture(scope="module")
def features() -> dict[str, np.ndarray]:
    """Values with every kind of gap: a lone value, a shot, a modality."""
    rng = np.random.default_rng(2)
    marker, exam = rng.normal(size=(PATIENTS, 1)), rng.normal(size=(PATIENTS, 6))
    exam[1, 0] = np.nan  # unknown although the shot was done
    exam[2, 2:5] = np.nan  # a shot that was not done
    exam[3] = np.nan  # a modality the patient lacks
    marker[4] = np.nan
    exam[5], marker[5] = np.nan, np.nan  # nothing at all
    return {"marker": marker, "exam": exam}


COUNTS = np.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [1, 0, 1, 0], [1, 2, 0, 3], [1, 1, 1, 1], [0, 0, 0, 1]])


def golden_logit(
    network: DiagnosisNetwork, features: dict[str, np.ndarray], member: int, patient: int, counts
) -> float:
    """Equations (1) and (2) of `PanelEncoder` and the formula of `Head`, one term at a time."""
    z, g = np.zeros(EVIDENCE), np.zeros(EVIDENCE)
    first = 0
    for name, shot_of in SHOT.items():
        part = {
            key: value.detach().double().numpy()[member]
            for key, value in [*network.encoders[name].named_parameters(), *network.encoders[name].named_buffers()]
            if key != "of_shot"
        }
        x = features[name][patient]
        for shot in range(N_SHOTS[name]):
            mine = [index for index, of in enumerate(shot_of) if of == shot]
            taken = counts[first + shot] > 0 and any(not np.isnan(x[index]) for index in mine)
            if taken:
                for index in mine:
                    if np.isnan(x[index]):
                        z += part["unknown"][index]
                    else:
                        z += (x[index] - part["mean"][index]) / part["scale"][index] * part["weight"][index]
                g += 0.5 * part["gain"][shot]
            else:
                z += part["absent"][shot]
                g -= 0.5 * part["gain"][shot]
        first += N_SHOTS[name]
    head = {name: value.detach().double().numpy()[member] for name, value in network.head.named_parameters()}
    logit = head["bias"] + sum(z[e] * (head["readout"][e] + g[e]) for e in range(EVIDENCE))
    for unit in range(HIDDEN):
        inner = head["hidden_bias"][unit] + sum(z[e] * head["hidden"][e, unit] for e in range(EVIDENCE))
        logit += head["out"][unit] * np.tanh(inner)
    return float(logit)


def tensors(features: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(values, dtype=torch.float32) for name, values in features.items()}


def test_logits_are_those_of_the_equations(network, features):
    with torch.inference_mode():
        logits = network(tensors(features), torch.as_tensor(COUNTS)).numpy()
    assert logits.shape == (MEMBERS, len(COUNTS), PATIENTS)
    expected = [
        [[golden_logit(network, features, m, n, counts) for n in range(PATIENTS)] for counts in COUNTS]
        for m in range(MEMBERS)
    ]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_many_protocols_at_once_are_as_one_by_one(network, features):
    with torch.inference_mode():
        encoded = network.encode(tensors(features))
        together = network.decode(encoded, torch.as_tensor(COUNTS))
        alone = [network.decode(encoded, torch.as_tensor(counts[None])) for counts in COUNTS]
    torch.testing.assert_close(together, torch.cat(alone, dim=1), rtol=1e-5, atol=1e-5)


def test_many_patients_at_once_are_as_one_by_one(network, features):
    with torch.inference_mode():
        together = network(tensors(features), torch.as_tensor(COUNTS))
        alone = [
            network(tensors({name: values[[row]] for name, values in features.items()}), torch.as_tensor(COUNTS))
            for row in range(PATIENTS)
        ]
    torch.testing.assert_close(together, torch.cat(alone, dim=2), rtol=1e-5, atol=1e-5)


def test_a_patient_without_any_value_is_as_the_empty_protocol(network, features):
    with torch.inference_mode():
        logits = network(tensors(features), torch.as_tensor(COUNTS)).numpy()
    np.testing.assert_allclose(logits[:, :, 5], np.broadcast_to(logits[:, :1, 0], (MEMBERS, len(COUNTS))), rtol=1e-5)


def test_temperature_and_shift_of_a_protocol(network):
    a, b = network.calibration.double().numpy()
    logits = np.arange(2.0 * len(COUNTS)).reshape(len(COUNTS), 2) - 3.0
    shares = np.stack([COUNTS[:, 0] > 0, (COUNTS[:, 1:] > 0).mean(axis=1)], axis=1)
    expected = logits / np.exp(a[0] + shares @ a[1:])[:, None] + (b[0] + shares @ b[1:])[:, None]
    found = network.calibrated(torch.as_tensor(logits), torch.as_tensor(COUNTS))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)


def test_the_training_loss_is_cross_entropy_of_learners_and_a_prior(network, features, monkeypatch):
    label = np.array([0, 1, 1, 0, 0, 1])
    learns = np.array([[1, 1, 0, 1, 0, 1], [0, 1, 1, 1, 1, 0]], dtype=np.float32)
    monkeypatch.setattr(network, "log", lambda *args, **kwargs: None)
    with torch.no_grad():
        loss = network.training_step(
            {
                "features": tensors(features),
                "counts": torch.as_tensor(COUNTS),
                "label": torch.as_tensor(label),
                "learns": torch.as_tensor(learns),
                "n_learn": 50.0,
            },
            0,
        )
    expected = 0.0
    for member in range(MEMBERS):
        terms = []
        for counts in COUNTS:
            for patient in np.flatnonzero(learns[member]):
                probability = sigmoid(golden_logit(network, features, member, patient, counts))
                terms.append(-np.log(probability if label[patient] else 1.0 - probability))
        expected += np.mean(terms)
    shrunk = ("weight", "unknown", "gain", "readout", "head.hidden", "out")
    weights = {name: value.detach() for name, value in network.named_parameters()}
    squares = [float((value**2).sum()) for name, value in weights.items() if name.endswith(shrunk)]
    assert len(squares) == 3 * 2 + 3
    assert float(loss) == pytest.approx(expected + 1.0 / (2 * 50) * sum(squares), rel=1e-4)


# ---- features and standardisation


def test_features_of_a_panel():
    nan = np.nan
    data = np.array([[[120.0, 60.0], [2.0, nan], [0.5, nan]], [[nan, 70.0], [3.0, nan], [nan, nan]], [[nan, nan]] * 3])
    features, shot = panel_features(data, COLUMNS["exam"])
    np.testing.assert_array_equal(shot, [0, 0, 1, 1, 1, 2])
    np.testing.assert_array_equal(features[0], [120, 60, 0, 1, 0, 0.5])
    np.testing.assert_array_equal(features[1], [nan, 70, 0, 0, 1, nan])
    np.testing.assert_array_equal(features[2], [nan] * 6)


def test_a_panel_without_values_has_no_features():
    features, shot = panel_features(np.zeros((4, 1, 1)), ())
    assert features.shape == (4, 0)
    assert shot.shape == (0,)


def encoder_of(n_features: int, members: int = 2) -> PanelEncoder:
    return PanelEncoder(
        n_members=members,
        n_shots=n_features,
        shot=np.arange(n_features),
        n_evidence=3,
        generator=torch.Generator().manual_seed(0),
    )


def test_mean_and_scale_of_every_member():
    values, _ = panel_features(make_patients(40).values["exam"], COLUMNS["exam"])
    learns = np.stack([np.arange(40) % 2 == 0, np.arange(40) % 4 > 0])
    encoder = encoder_of(6)
    encoder.standardise(torch.as_tensor(values, dtype=torch.float32), torch.as_tensor(learns, dtype=torch.float32))
    for member in range(2):
        np.testing.assert_allclose(
            encoder.mean[member], np.nanmean(values[learns[member]], axis=0), rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(encoder.scale[member], np.nanstd(values[learns[member]], axis=0), rtol=1e-4)


def test_a_patient_left_out_does_not_move_the_mean():
    rng = np.random.default_rng(0)
    values, learns = rng.normal(size=(10, 2)), np.ones((2, 10))
    learns[0, 3] = 0
    before, after = encoder_of(2), encoder_of(2)
    before.standardise(torch.as_tensor(values).float(), torch.as_tensor(learns).float())
    values[3] = 1e6
    after.standardise(torch.as_tensor(values).float(), torch.as_tensor(learns).float())
    assert torch.equal(before.mean[0], after.mean[0])
    assert torch.equal(before.scale[0], after.scale[0])
    assert (before.mean[1] != after.mean[1]).all(), "the other member did learn from this patient"


@pytest.mark.parametrize(("offset", "unit"), [(0.0, 1.0), (1e4, 1.0), (-3e5, 30.0), (0.0, 1e-9), (0.0, 1e12)])
def test_values_are_standardised_whatever_their_unit(offset, unit):
    standard = np.random.default_rng(0).normal(size=(200, 1))
    encoder = encoder_of(1, members=1)
    values = torch.as_tensor(offset + unit * standard, dtype=torch.float32)
    encoder.standardise(values, torch.ones(1, 200))
    np.testing.assert_allclose(encoder.scale[0], unit * standard.std(), rtol=1e-2)
    np.testing.assert_allclose(encoder.mean[0], offset + unit * standard.mean(), rtol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, 246.7, -1e6])
def test_a_value_that_never_changes_is_not_blown_up(constant):
    encoder = encoder_of(2, members=1)
    values = torch.full((37, 2), constant)
    values[:, 1] = torch.nan  # known for nobody
    encoder.standardise(values, torch.ones(1, 37))
    assert encoder.scale.tolist() == [[1.0, 1.0]]
    evidence, done = encoder(values)
    assert evidence.abs().max() < 0.1
    assert done.tolist() == [[True, False]] * 37


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 10, 25])
def test_the_schedule_works_for_any_number_of_steps(network, monkeypatch, steps):
    monkeypatch.setattr(network, "steps", steps)
    made = network.configure_optimizers()
    schedule = made["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(steps):
        rates.append(schedule.get_last_lr()[0])
        made["optimizer"].step()
        if len(rates) < steps:
            schedule.step()
    assert all(0 < rate <= 0.01 + 1e-12 for rate in rates)


def test_every_network_of_an_ensemble_starts_elsewhere_and_a_seed_repeats():
    def weights(seed: int) -> torch.Tensor:
        return (
            DiagnosisNetwork(
                panels={"a": {"n_shots": 2, "shot": [0, 1]}},
                n_members=3,
                n_evidence=4,
                n_hidden=2,
                prior_precision=1.0,
                learning_rate=0.1,
                steps=3,
                seed=seed,
            )
            .encoders["a"]
            .weight
        )

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    assert not torch.equal(weights(0)[0], weights(0)[1])
