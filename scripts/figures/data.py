"""What other libraries make of small data: writes test/figures/data.json. Rotations by PyTorch's affine_grid and grid_sample,
class weights by scikit-learn. Run by hand: python3 data.py (made with PyTorch 1.13, scikit-learn 1.2)"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

torch.manual_seed(3)
images = torch.rand(4, 2, 5, 7, dtype=torch.float64)
angles = [0.0, math.pi / 2, -0.3, 2.5]
n, c, h, w = images.shape
# grid_sample's coordinates are from -1 to 1 across the outer edges of the image: a rotation of pixels is one of those
# scaled by the sides. Output to input is the rotation back.
theta = torch.zeros(n, 2, 3, dtype=torch.float64)
for i, a in enumerate(angles):
    theta[i] = torch.tensor([[math.cos(a), -math.sin(a) * h / w, 0], [math.sin(a) * w / h, math.cos(a), 0]])
grid = F.affine_grid(theta, images.shape, align_corners=False)
rotated = {}
for mode in ["nearest", "bilinear"]:
    # Padding is zeros; what is outside is `fill` if it is taken away before and added after.
    rotated[mode] = (F.grid_sample(images - 0.25, grid, mode=mode, padding_mode="zeros", align_corners=False) + 0.25).tolist()

labels = [2, 0, 1, 1, 2, 2, 2, 0, 2]
out = {
    "images": images.tolist(), "angles": angles, "fill": 0.25, "rotated": rotated,
    "labels": labels, "balanced": compute_class_weight("balanced", classes=np.arange(3), y=labels).tolist(),
}
path = pathlib.Path(__file__).resolve().parents[2] / "test/figures/data.json"
path.write_text(json.dumps(out, default=float) + "\n")
