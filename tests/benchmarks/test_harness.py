"""The harness with workers that only write down what they are asked, and once with real ones."""

import torch

from benchmarks.comparison import OURS, Case, Comparison, Inputs, Provider
from benchmarks.harness import Harness, WorkerFailedError
from benchmarks.memory import peak_of_call
from benchmarks.ops import load
from benchmarks.prediction import Limits

LIMITS = Limits(memory_bytes=1e12)


def comparison(*providers):
    return Comparison(
        op="double",
        letter="B",
        growth=1,
        inputs=lambda size: Inputs((torch.ones(size),)),
        exact=lambda case: lambda x: (2 * x,),
        cases=(),
        providers=providers,
        exact_up_to=0,
        grows_from=1,
    )


def provider(name, **options):
    return Provider(name, lambda case: lambda x: (2 * x,), **options)


class FakeWorker:
    """Answers at once, by a script: {(request): answer, or an exception's text}."""

    def __init__(self, name, log, script):
        self.name, self.log, self.script = name, log, script

    def ask(self, request, argument=None):
        self.log.append((request, self.name))
        answer = self.script.get((self.name, request))
        if isinstance(answer, str):
            raise WorkerFailedError(answer)
        if request == "prepare":
            return answer or {"seconds": 0.5, "bytes": 100, "repetitions": 3}
        return 0.25

    def close(self):
        self.log.append(("close", self.name))


def play(providers, script=None, **options):
    """(result, log) of one case."""
    log = []

    def start(op, name, device):
        return FakeWorker(name, log, script or {})

    harness = Harness(comparison(*providers), "cpu", LIMITS, start=start, **options)
    run = harness.run(Case(8, "forward"))
    for _ in range(run.rounds):
        run.play_round()
    result = run.finish()
    harness.close()
    return result, log


def test_rivals_take_turns_and_another_begins_each_round():
    _, log = play([provider(OURS), provider("a"), provider("b")])
    turns = [name for request, name in log if request == "turn"]
    rounds = [turns[i : i + 3] for i in range(0, len(turns), 3)]
    assert rounds == [[OURS, "a", "b"], ["a", "b", OURS], ["b", OURS, "a"]]


def test_everybody_is_prepared_before_the_first_turn():
    _, log = play([provider(OURS), provider("a")])
    requests = [request for request, _ in log]
    assert requests[:2] == ["prepare", "prepare"]
    assert "prepare" not in requests[2:]


def test_a_missing_rival_is_named_and_the_others_are_measured():
    result, log = play([provider(OURS), provider("a", requires=("no_such_package",))])
    assert result.providers["a"].status == "no_such_package is not installed"
    assert result.providers["a"].seconds == []
    assert result.providers[OURS].median == 0.25
    assert "a" not in {name for _, name in log}


def test_a_rival_that_fails_is_named_and_its_process_ended():
    for request in ("prepare", "turn"):
        result, log = play([provider(OURS), provider("a")], {("a", request): "out of memory"})
        assert result.providers["a"].status == "failed: out of memory"
        assert result.providers["a"].seconds == []
        assert len(result.providers[OURS].seconds) == 3
        assert ("close", "a") in log


def test_very_long_calls_are_timed_once():
    first = {"seconds": 60.0, "bytes": 7, "repetitions": 1}
    result, log = play([provider(OURS), provider("a")], {(OURS, "prepare"): first})
    assert result.providers[OURS].seconds == [60.0]
    assert ("turn", OURS) not in log
    assert len(result.providers["a"].seconds) == 3


def test_after_the_deadline_nothing_is_run():
    result, log = play([provider(OURS)], deadline=0.0)
    assert result.providers[OURS].status == "time was up"
    assert log == []


def test_providers_without_the_case_do_not_appear():
    on_cuda = provider("a", devices=("cuda",))
    backward = provider("b", passes=("forward+backward",))
    result, _ = play([provider(OURS), on_cuda, backward, Provider("c", lambda case: None)])
    assert list(result.providers) == [OURS]


def test_real_processes_measure_time_memory_and_error():
    harness = Harness(load("latent_affine"), "cpu", LIMITS)
    try:
        run = harness.run(Case(64, "forward+backward"))
        run.play_round()
        result = run.finish()
    finally:
        harness.close()
    assert [m.status for m in result.providers.values()] == ["ok"] * 3
    for measurement in result.providers.values():
        assert len(measurement.seconds) == 1
        assert measurement.seconds[0] > 0
        assert measurement.bytes is not None
        assert set(measurement.error) == {"outputs", "gradients"}
        assert max(measurement.error.values()) < 1e-5
    assert result.ratio("eager, lean") == (
        result.providers["eager, lean"].median / result.providers[OURS].median
    )


def test_peak_memory_sees_what_a_call_held_at_most():
    num_bytes = 64 << 20

    def call():
        first = torch.ones(num_bytes // 4)
        second = first + 1
        del first
        return second

    _, peak = peak_of_call(call, "cpu")
    assert 2 * num_bytes <= peak + (1 << 20)
    assert peak <= 2 * num_bytes + (16 << 20)
