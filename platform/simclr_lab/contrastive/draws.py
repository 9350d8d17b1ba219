"""Counter-based randomness: a number is a function of a seed and a counter, of nothing else.

So every image's draws are the same whichever worker holds it, in whatever order, after whatever
interruption. SplitMix64 (Steele, Lea and Flood 2014): the k-th output of seed s mixes s + k * G.
All arithmetic is modulo 2^64 in int64 tensors on the CPU.
"""

import hashlib

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The int64 with the same 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own copies the sign bit."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """SplitMix64's finaliser: every input bit reaches every output bit."""
    x = (x ^ _shift_right(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MIX_2)
    return x ^ _shift_right(x, 31)


def _number(purpose: str | int) -> int:
    """A fixed 64-bit number for a purpose."""
    digest = hashlib.blake2b(str(purpose).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def derive(seeds: Int64[Tensor, " n"], purpose: str | int) -> Int64[Tensor, " n"]:
    """Seeds of independent streams for one more purpose."""
    return _mix(_mix(seeds + _signed(_GAMMA)) ^ _number(purpose))


def image_seeds(
    seed: int, purpose: str, epochs: Int64[Tensor, " n"], positions: Int64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """One seed per image from (seed, purpose, epoch, position in the epoch)."""
    root = derive(torch.tensor([seed], dtype=torch.int64), purpose)
    by_epoch = _mix(root + epochs * _signed(_GAMMA))
    return _mix(_mix(by_epoch) + positions * _signed(_GAMMA))


def _bits(seeds: Int64[Tensor, " n"], counter: int) -> Int64[Tensor, " n"]:
    return _mix(seeds + _signed(_GAMMA * (counter + 1)))


def uniform(seeds: Int64[Tensor, " n"], counter: int) -> Float64[Tensor, " n"]:
    """Uniform numbers in [0, 1) with 53 bits, the ``counter``-th of each seed's stream."""
    return _shift_right(_bits(seeds, counter), 11).double() * 2.0**-53


def integers(
    seeds: Int64[Tensor, " n"], counter: int, high: int | Int64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """Uniform integers in [0, high), the ``counter``-th of each seed's stream."""
    return (uniform(seeds, counter) * high).floor().long()


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A CPU generator for what is drawn as a whole: an epoch's order, initial weights."""
    zero = torch.zeros(1, dtype=torch.int64)
    value = int(image_seeds(seed, f"generator/{purpose}", zero + epoch, zero))
    return torch.Generator().manual_seed(value & ((1 << 63) - 1))
