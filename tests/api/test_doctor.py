from __future__ import annotations

from pathlib import Path

import pytest

from kresp3d.api import doctor
from kresp3d.api.doctor import GIB, Check

CPUINFO = """processor\t: 0
model name\t: A processor
flags\t\t: fpu sse4_2 avx avx2 avx512f amx_bf16

processor\t: 1
flags\t\t: fpu
"""


def rows(*statuses: doctor.Status) -> list[Check]:
    return [Check("part", "name", status, "found") for status in statuses]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((), "ok"),
        (("ok", "none"), "ok"),
        (("ok", "warn", "none"), "warn"),
        (("warn", "fail", "ok"), "fail"),
    ],
)
def test_the_worst_status_counts(statuses: tuple[doctor.Status, ...], expected: str) -> None:
    assert doctor.worst(rows(*statuses)) == expected


def test_the_vector_instructions_are_named() -> None:
    check = doctor.check_cpu(CPUINFO, "x86_64")
    assert check.status == "ok"
    assert check.found.endswith("AVX, AVX2, AVX-512, AMX bf16")


@pytest.mark.parametrize(("cpuinfo", "machine"), [(None, "x86_64"), ("", "arm64"), ("Features: fp asimd", "aarch64")])
def test_unknown_vector_instructions_are_no_fault(cpuinfo: str | None, machine: str) -> None:
    check = doctor.check_cpu(cpuinfo, machine)
    assert check.status == "ok"
    assert "unknown" in check.found


def test_without_avx_tensorflow_is_not_even_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Its import would end the process with an illegal instruction.
    monkeypatch.setattr(doctor, "read_text", lambda path: "flags : fpu sse2" if path == "/proc/cpuinfo" else None)
    monkeypatch.setattr(doctor.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(doctor, "check_tensorflow", lambda: pytest.fail("TensorFlow was imported"))
    checks = doctor.run_checks(tmp_path)
    assert [check.name for check in checks if check.status == "fail"] == ["CPU"]


@pytest.mark.parametrize(("version", "status"), [((3, 10, 9), "fail"), ((3, 11, 0), "ok"), ((3, 13, 1), "ok")])
def test_python_must_be_new_enough(version: tuple[int, ...], status: str) -> None:
    assert doctor.check_python(version).status == status


@pytest.mark.parametrize(
    ("total", "available", "status"), [(None, None, "ok"), (16 * GIB, 8 * GIB, "ok"), (16 * GIB, 2 * GIB, "warn")]
)
def test_little_memory_is_a_warning(total: int | None, available: int | None, status: str) -> None:
    assert doctor.check_memory(total, available).status == status


@pytest.mark.parametrize(("free", "status"), [(50 * GIB, "ok"), (1 * GIB, "warn")])
def test_little_disk_is_a_warning(free: int, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = doctor.shutil._ntuple_diskusage(free * 2, free, free)  # type: ignore[attr-defined]
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    check = doctor.check_disk(tmp_path)
    assert check.status == status
    assert f"{free / GIB:.1f} GiB" in check.found


@pytest.mark.parametrize(
    ("version", "status"), [("2.16.2", "ok"), ("2.21.0", "ok"), ("2.18.1", "warn"), ("2.210.0", "warn")]
)
def test_a_tensorflow_the_tests_do_not_run_on_is_a_warning(version: str, status: str) -> None:
    assert doctor.tensorflow_version(version).status == status


@pytest.mark.parametrize(
    ("version", "backend", "status"),
    [("3.15.1", "tensorflow", "ok"), ("2.15.0", "tensorflow", "fail"), ("3.15.1", "jax", "fail")],
)
def test_keras_must_be_3_on_tensorflow(version: str, backend: str, status: str) -> None:
    assert doctor.keras_version(version, backend).status == status


@pytest.mark.parametrize(
    ("driver", "cuda", "visible", "status", "reason"),
    [
        (False, True, None, "none", "no NVIDIA driver"),
        (True, True, "-1", "none", "hidden by CUDA_VISIBLE_DEVICES='-1'"),
        (True, True, "", "none", "hidden"),
        (True, False, None, "warn", "built without CUDA"),
        (True, True, None, "warn", "finds no GPU"),
        (True, True, "0", "warn", "finds no GPU"),
    ],
)
def test_the_reason_for_no_gpu_is_given(
    driver: bool, cuda: bool, visible: str | None, status: str, reason: str
) -> None:
    check = doctor.no_gpu(driver, cuda, visible)
    assert check.status == status
    assert reason in check.found
    assert bool(check.advice) == (status == "warn")


@pytest.mark.parametrize(
    ("missing", "status"), [((), "ok"), (("av1",), "warn"), (("mpeg4",), "fail"), (("vp9", "h264"), "fail")]
)
def test_a_missing_decoder_weighs_by_what_it_reads(missing: tuple[str, ...], status: str) -> None:
    check = doctor.judge_decoders({"h264", "mpeg4", "hevc", "vp9", "av1", "aac"} - set(missing))
    assert check.status == status
    assert all(f"no {name}: " in check.advice for name in missing)


@pytest.mark.parametrize(
    ("installed", "tensorflow", "status"),
    [
        (None, "2.21.0", "none"),
        ("0.37.1", "2.16.2", "ok"),
        ("0.37.1", "2.21.0", "warn"),
        ("0.37.1", None, "warn"),
    ],
)
def test_tensorflow_io_needs_tensorflow_2_16(installed: str | None, tensorflow: str | None, status: str) -> None:
    check = doctor.io_version(installed, tensorflow)
    assert check.status == status
    if status != "ok":
        assert "2.16 only" in check.found
        assert "kresp3d[io]" in check.advice


def test_an_optional_package_that_does_not_load_is_a_warning_with_the_reason() -> None:
    def load() -> object:
        raise ImportError("undefined symbol: x\n  in y")

    check = doctor._check_import("numpy", "numpy", "no numbers", load)
    assert check.status == "warn"
    assert "does not load: ImportError: undefined symbol: x in y" in check.found


def test_a_format_that_cannot_be_exported_names_its_extra() -> None:
    check = doctor._check_format("X", "no-such-package-of-kresp3d", "x", "litert")
    assert (check.status, check.found) == ("none", "not installed")
    assert "pip install 'kresp3d[litert]'" in check.advice


@pytest.mark.parametrize(("needed", "status"), [(True, "warn"), (False, "none")])
def test_an_optional_package_that_is_missing_is_said(needed: bool, status: str) -> None:
    check = doctor._check_import("x", "no-such-package-of-kresp3d", "no x", lambda: None, needed)
    assert check.status == status
    assert "no x" in check.found
