"""A price per hour becomes what tokens cost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cost import costs

PRICE = Decimal("2.50")


def test_all_gpus_are_paid_for_from_the_first_request_to_the_last_answer():
    found = costs(
        {"duration_s": 1_800, "gpus": 4, "input_tokens": 6_000_000, "output_tokens": 2_000_000},
        PRICE,
    )
    assert found == {
        "cost": 5.0,
        "cost_per_million_output_tokens": 2.5,
        "cost_per_million_tokens": 0.625,
    }


def test_a_machine_without_a_gpu_counts_as_one():
    assert costs({"duration_s": 3_600}, PRICE) == {"cost": 2.5}


def test_embeddings_have_no_output_to_pay_for():
    found = costs({"duration_s": 3_600, "input_tokens": 1_000_000, "output_tokens": 0}, PRICE)
    assert found == {"cost": 2.5, "cost_per_million_tokens": 2.5}


def test_nothing_is_told_without_a_price_or_a_duration():
    assert costs({"duration_s": 3_600, "output_tokens": 5}, None) == {}
    assert costs({"output_tokens": 5}, PRICE) == {}


def test_a_price_of_nothing_is_a_price():
    assert costs({"duration_s": 60, "output_tokens": 5}, Decimal(0))["cost"] == 0


@given(
    st.floats(0.1, 1e6),
    st.integers(1, 64),
    st.integers(0, 10**12),
    st.integers(1, 10**12),
    st.decimals(0, 1_000, places=4),
)
def test_tokens_at_their_cost_come_to_the_cost(duration_s, gpus, incoming, outgoing, price):
    figures = {
        "duration_s": duration_s,
        "gpus": gpus,
        "input_tokens": incoming,
        "output_tokens": outgoing,
    }
    found = costs(figures, price)
    assert found["cost"] == pytest.approx(float(price) * gpus * duration_s / 3_600)
    output = found["cost_per_million_output_tokens"] * outgoing / 1e6
    both = found["cost_per_million_tokens"] * (incoming + outgoing) / 1e6
    assert output == pytest.approx(found["cost"])
    assert both == pytest.approx(found["cost"])
