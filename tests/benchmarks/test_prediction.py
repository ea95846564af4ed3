import pytest

from benchmarks.growth import exponent, extrapolate
from benchmarks.prediction import History, Limits

GB = 1e9
LIMITS = Limits(memory_bytes=20 * GB)


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_fit_recovers_a_known_exponent(power):
    sizes = [512, 4096, 16_384, 131_072]
    assert exponent(sizes, [3e-7 * size**power for size in sizes]) == pytest.approx(power)


def test_the_fit_is_the_least_squares_line():
    sizes = [1, 10, 100]
    # log10 values 0, 3, 4 about the line of slope 2 leave residuals -1/3, 2/3, -1/3.
    assert exponent(sizes, [1, 1e3, 1e4]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("sizes", "values", "message"),
    [
        ([4], [1.0], "two sizes"),
        ([4, 4], [1.0, 2.0], "two sizes"),
        ([4, 8], [1.0], "two sizes"),
        ([4, 8], [1.0, 0.0], "positive"),
    ],
)
def test_a_fit_of_too_little_is_refused(sizes, values, message):
    with pytest.raises(ValueError, match=message):
        exponent(sizes, values)


def test_extrapolation_goes_through_the_known_point():
    assert extrapolate(4096, (4096, 0.2), 2) == 0.2
    assert extrapolate(16_384, (4096, 0.2), 2) == pytest.approx(3.2)


def history(*points):
    """Of one rival in the forward pass, from (size, seconds, bytes)."""
    past = History(growth=2)
    for size, seconds, bytes_ in points:
        past.add("rival", "forward", size, seconds, bytes_)
    return past


def refusal(past, size, limits=LIMITS, seconds=5.0):
    return past.refusal("rival", "forward", size, limits, seconds)


def test_what_would_need_too_much_memory_is_refused_with_the_amount():
    past = history((4096, 0.01, 0.25 * GB), (8192, 0.04, 1 * GB))
    assert refusal(past, 16_384) is None
    assert refusal(past, 32_768) == "would need 16 GB"


def test_memory_that_grows_linearly_is_predicted_so():
    past = history((4096, 1e-3, 0.5 * GB), (8192, 4e-3, 1 * GB))
    assert past.bytes("rival", "forward", 65_536) == pytest.approx(8 * GB)
    assert refusal(past, 65_536) is None


def test_one_size_predicts_the_worst():
    assert refusal(history((4096, 1e-3, 1 * GB)), 16_384) == "would need 16 GB"


def test_what_would_take_too_long_is_refused_with_the_time():
    past = history((8192, 2.0, 1 << 20))
    assert refusal(past, 16_384) == "would take 8 s"
    assert refusal(past, 16_384, seconds=10.0) is None


def test_calls_of_fixed_cost_predict_nothing():
    assert refusal(history((4, 1e-4, 1 << 20)), 1 << 20) is None
    assert refusal(history(), 1 << 20) is None


def test_a_slow_call_of_a_small_case_predicts_nothing():
    past = History(growth=2, grows_from=512)
    past.add("rival", "forward", 4, 2e-3, 1 << 20)
    assert refusal(past, 4096) is None
    past.add("rival", "forward", 512, 2e-3, 1 << 20)
    assert refusal(past, 1 << 17, seconds=100.0) == "would take 131 s"


def test_passes_and_providers_are_predicted_apart():
    past = history((8192, 2.0, 1 * GB))
    assert past.refusal("rival", "forward+backward", 1 << 20, LIMITS, 5.0) is None
    assert past.refusal("other", "forward", 1 << 20, LIMITS, 5.0) is None
