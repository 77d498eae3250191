"""Motion between shots, against objects that really are elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from scanwise.physics import CartesianEncoding, Motion, MovingEncoding, coil_maps, ifft2c, rotate

SHAPE = (48, 37)
MAPS = coil_maps(SHAPE, n_coils=3, seed=0, dtype=torch.complex128)
ONCE = torch.ones(1, 48, dtype=torch.int64)


def blob(y0, x0, angle=0.0, shape=SHAPE):
    """A smooth ellipse, long along x, centred at an offset from the middle and turned from x towards y."""
    y = torch.arange(shape[0], dtype=torch.float64)[:, None] - shape[0] // 2 - y0
    x = torch.arange(shape[1], dtype=torch.float64)[None, :] - shape[1] // 2 - x0
    along, across = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return torch.exp(-(along**2) / 18 - across**2 / 8)[None]


def motion(shots=1, **change):
    still = dict.fromkeys(("shift_y_px", "shift_x_px", "rotation_rad", "phase_rad"), torch.zeros(1, shots))
    return Motion(**still | {name: torch.tensor([value], dtype=torch.float64) for name, value in change.items()})


def encode(shot_counts, moved, matrix=SHAPE):
    return MovingEncoding.build(maps=MAPS, shot_counts=shot_counts, matrix=matrix, motion=moved)


@pytest.mark.parametrize("angle", [0.3, -0.7, 0.0])
def test_rotate_turns_from_x_towards_y(angle):
    y0, x0 = 7 * math.sin(angle), 7 * math.cos(angle)

    turned = rotate(blob(0, 7), torch.tensor([angle]))

    assert turned.dtype == torch.complex128
    assert (turned - blob(y0, x0, angle)).abs().max() < 2e-3


def test_rotate_has_an_angle_for_every_patient_and_keeps_energy():
    image = torch.cat([blob(3, 2), blob(-4, 1)])[:, None].repeat(1, 2, 1, 1)
    angle = torch.tensor([0.4, -0.2])

    turned = rotate(image, angle)

    torch.testing.assert_close(turned[1:], rotate(image[1:], angle[1:]))
    torch.testing.assert_close(turned.norm(), image.norm())
    torch.testing.assert_close(rotate(turned, -angle), image.to(torch.complex128))


def test_still_is_the_plain_encoding():
    shot_counts = torch.stack([torch.arange(48) % 2, torch.arange(48) % 3 % 2])
    moving = encode(shot_counts, Motion.still(1, 2))
    plain = CartesianEncoding.build(maps=MAPS, counts=shot_counts.sum(0), matrix=SHAPE)

    assert torch.equal(moving.counts, plain.counts)
    torch.testing.assert_close(moving.forward(blob(2, 3)), plain.forward(blob(2, 3)))


def test_a_shift_moves_the_body_and_the_array():
    moved = encode(ONCE, motion(shift_y_px=[3.0], shift_x_px=[-2.0])).forward(blob(1, 4))

    expected = torch.roll(MAPS * blob(1, 4), (3, -2), (-2, -1))
    torch.testing.assert_close(ifft2c(moved), expected[None][0][None])


def test_a_shift_counts_voxels_of_the_acquired_matrix():
    moved = encode(ONCE[:, :24], motion(shift_y_px=[2.0], shift_x_px=[0.0]), (24, 37)).forward(blob(0, 0))
    still = encode(ONCE[:, :24], motion(), (24, 37)).forward(blob(0, 0))

    torch.testing.assert_close(ifft2c(moved), torch.roll(ifft2c(still), 2, -2))


def test_a_rotation_turns_the_body():
    moved = encode(ONCE, motion(rotation_rad=[0.3])).forward(blob(0, 6))

    torch.testing.assert_close(ifft2c(moved), rotate(MAPS * blob(0, 6)[:, None], torch.tensor([0.3])))


def test_no_rotation_is_the_limit_of_a_small_one():
    lines = torch.stack([torch.arange(48) % 2, 1 - torch.arange(48) % 2])
    steps = {"shift_y_px": [0.4, -1.2], "shift_x_px": [0.0, 0.7], "phase_rad": [0.3, -0.2]}

    without, with_little = (
        encode(lines, motion(2, **steps)),
        encode(lines, motion(2, **steps, rotation_rad=[1e-9, 0.0])),
    )

    torch.testing.assert_close(without.forward(blob(1, 2)), with_little.forward(blob(1, 2)), atol=1e-6, rtol=0)


def test_averages_of_opposite_phase_cancel_and_equal_ones_do_not():
    twice = ONCE.repeat(2, 1)
    opposite = encode(twice, motion(2, phase_rad=[0.0, math.pi])).forward(blob(1, 2))
    same = encode(twice, motion(2, phase_rad=[0.5, 0.5])).forward(blob(1, 2))

    assert opposite.abs().max() < 1e-12
    torch.testing.assert_close(same, encode(ONCE, motion()).forward(blob(1, 2)) * torch.exp(torch.tensor(0.5j)))


def test_lines_belong_to_their_shot():
    lines = torch.stack([torch.arange(48) % 2, 1 - torch.arange(48) % 2])
    kspace = encode(lines, motion(2, shift_y_px=[0.0, 1.3])).forward(blob(1, 2))

    still, moved = encode(ONCE, motion()), encode(ONCE, motion(shift_y_px=[1.3]))
    torch.testing.assert_close(kspace[:, :, 1::2], still.forward(blob(1, 2))[:, :, 1::2])
    torch.testing.assert_close(kspace[:, :, 0::2], moved.forward(blob(1, 2))[:, :, 0::2])


def test_random_motion_walks_from_rest():
    draw = {"shift_sd_px": 0.5, "rotation_sd_rad": 0.01, "phase_sd_rad": 1.0}
    one, again = (Motion.random(400, 9, **draw, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3))

    assert torch.equal(one.shift_y_px, again.shift_y_px)
    assert bool((one.shift_y_px[:, 0] == 0).all() and (one.rotation_rad[:, 0] == 0).all())
    assert one.shift_x_px[:, 8].std().item() == pytest.approx(0.5 * math.sqrt(8), rel=0.12)
    assert one.rotation_rad[:, 4].std().item() == pytest.approx(0.01 * 2, rel=0.12)
    assert one.phase_rad[:, 0].std().item() == pytest.approx(1.0, rel=0.12)
    assert abs(torch.corrcoef(torch.stack([one.shift_x_px[:, 8], one.shift_y_px[:, 8]]))[0, 1]) < 0.15
