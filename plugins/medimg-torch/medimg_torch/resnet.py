"""ResNet-18 for small pictures: a 3×3 stem of stride 1 and no first pooling.

Source: He et al. 2016, Deep Residual Learning for Image Recognition, table 1 and fig. 5 left; the
stem is that of its section 4.2 for 32-pixel pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from medimg_torch.layers import Block

if TYPE_CHECKING:
    from medimg_torch.networks import Plan


def resnet18_small(plan: Plan) -> None:
    """Adds a stem and four stages of two blocks.

    Convolutions have no bias and a pixel of padding on each side. Within a block the main path
    is numbered first, then the shortcut.
    """
    plan.begin("stem")
    plan.add(plan.conv(64, padding=1, bias=False), plan.bn(), nn.ReLU(inplace=True))
    for number, filters in enumerate((64, 128, 256, 512), start=1):
        plan.begin(f"stage{number}")
        for stride in (1 if number == 1 else 2, 1):
            plan.add(basic_block(plan, filters, stride))


def basic_block(plan: Plan, filters: int, stride: int) -> Block:
    """A block on what the plan has so far; a 1×1 shortcut where the shape changes."""
    before = plan.shape
    main = nn.Sequential(
        plan.conv(filters, stride=stride, padding=1, bias=False),
        plan.bn(),
        nn.ReLU(inplace=True),
        plan.conv(filters, padding=1, bias=False),
        plan.bn(),
    )
    if plan.shape == before:
        return Block(main, nn.Identity())
    plan.shape = before
    return Block(main, nn.Sequential(plan.conv(filters, 1, stride, bias=False), plan.bn()))
