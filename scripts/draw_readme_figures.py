"""Draw the README's figures from the embedded dataset, into docs/images/.

python scripts/draw_readme_figures.py
"""

from pathlib import Path

import numpy as np

from kresp3d.config.schema import SyntheticConfig
from kresp3d.datasets.synthetic.dataset import write_contact_sheet
from kresp3d.datasets.synthetic.render import render_video
from kresp3d.evaluation.figures import clip_sheet, save

IMAGES = Path(__file__).parents[1] / "docs" / "images"

config = SyntheticConfig(size=144, fps=15)
IMAGES.mkdir(parents=True, exist_ok=True)
write_contact_sheet(IMAGES / "synthetic.png", SyntheticConfig(), columns=8, take=2)
clip = render_video("jumping-jack", subject=3, take=2, config=config)
side = config.size
left = (clip.shape[2] - side) // 2
save(clip_sheet(np.ascontiguousarray(clip[:17, :, left : left + side]), step=1), IMAGES / "residual_frames.png")
