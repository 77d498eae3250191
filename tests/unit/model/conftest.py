from __future__ import annotations

import pytest
from model_scenario import TRAINER, make_fold, make_menu, make_patients

from scanwise.design import Fold, Menu
from scanwise.model import AmortisedModel, NetworkScorer


@pytest.fixture(scope="session")
def patients():
    return make_patients()


@pytest.fixture(scope="session")
def menu() -> Menu:
    return make_menu()


@pytest.fixture(scope="session")
def fold() -> Fold:
    return make_fold()


@pytest.fixture(scope="session")
def model() -> AmortisedModel:
    return AmortisedModel(steps=60, n_evidence=5, n_hidden=3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Where `trained` left its checkpoint."""
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(scope="session")
def trained(patients, menu, fold, model, folder) -> NetworkScorer:
    """One trained ensemble that the tests only look at."""
    return model.fit(patients, menu, fold, seed=1, trainer=TRAINER, directory=folder)
