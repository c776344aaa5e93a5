"""`kresp3d profile`."""

from __future__ import annotations

import json

from kresp3d.cli.main import main


def test_json_agrees_with_the_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    config = tmp_path / "config.yaml"
    config.write_text("model: {frames: 4, size: 32, width: 8, blocks: [1, 2], fc1: 16}\n")
    command = ["profile", "--config", str(config), "--classes", "7"]
    file = tmp_path / "figures.json"
    assert main([*command, "--json", str(file)]) == 0
    found = json.loads(file.read_text())
    table = capsys.readouterr().out

    assert found["parameters"] == sum(stage["parameters"] for stage in found["stages"])
    assert found["macs"] == sum(stage["macs"] for stage in found["stages"])
    assert found["flops"] == 2 * found["macs"]
    [total] = [line for line in table.splitlines() if line.split("│")[1:2] and line.split("│")[1].strip() == "all"]
    assert f"{found['parameters']:,}" in total and f"{found['macs'] / 1e9:.3f}" in total
    for stage in found["stages"]:
        [row] = [line for line in table.splitlines() if f"│ {stage['name']} " in line]
        assert f" {stage['parameters']:,} " in row and f" {stage['macs'] / 1e9:.3f} " in row
    assert f"FLOPs = 2×MACs = {found['flops'] / 1e9:.3f} G" in table
    # fc2: 16 inputs, 7 classes.
    assert found["stages"][-1] | {"shape": None} == {"name": "fc2", "shape": None, "parameters": 17 * 7, "macs": 16 * 7}
