from kresp3d.ui import progress as module
from kresp3d.ui.progress import progress_bar


def test_nothing_is_said_before_the_first_call(capsys):
    with progress_bar("Preparing"):
        pass
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_quiet_one_says_nothing(capsys):
    with progress_bar("Preparing", quiet=True) as show:
        show(3, 3)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_lines_without_a_terminal_give_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 40.0, 45.0, 50.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with progress_bar("Preparing") as show:
        for done in (100, 120, 180, 190, 1380):
            show(done, 1380)
    captured = capsys.readouterr()
    assert captured.out == ""
    # 80 videos in 40 s; the 100 that were there before do not count.
    assert captured.err.splitlines() == [
        "Preparing: 180 of 1380 videos, 2.0/s, 10 min left",
        "Preparing: 1380 of 1380 videos",
    ]
