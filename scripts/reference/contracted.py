"""Contractions of the frontend, with gradients by torch.autograd, as in functions.py."""

import torch

from .cases import TORCH
from .functions import differentiated, normal

ONE = {"dtypes": ("f64",)}


def einsums(cases):
    plan = [
        # One operand: views and sums.
        ("ij->ji", [(2, 3)]), ("ij", [(2, 3)]), ("ji", [(2, 3)]), ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("iji->j", [(2, 3, 2)]), ("iii->i", [(2, 2, 2)]),
        ("iijj->ij", [(2, 2, 3, 3)]), ("ij->", [(2, 3)]), ("ijk->j", [(2, 3, 2)]), ("...ij->...ji", [(2, 1, 2, 3)]), ("...ii->...i", [(2, 3, 3)]),
        ("...->", [(2, 3)]), ("i...->...", [(2, 3)]), ("b...a", [(2, 3, 2)]), ("->", [()]), ("ij->ij", [(0, 3)]), ("ij->j", [(0, 3)]), ("ii->i", [(0, 0)]), ("Ba", [(2, 3)]),
        # Two.
        ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij,kj->ik", [(2, 3), (4, 3)]), ("i,i->", [(5,), (5,)]), ("i,i->i", [(5,), (5,)]), ("i,j->ij", [(2,), (3,)]),
        ("i,j->ji", [(2,), (3,)]), ("ij,j->i", [(2, 3), (3,)]), ("bij,bjk->bik", [(2, 2, 3), (2, 3, 2)]), ("bij,bjk->ikb", [(2, 2, 3), (2, 3, 2)]), ("bi,bi->b", [(2, 3), (2, 3)]),
        ("ijk,ilk->jl", [(2, 2, 3), (2, 4, 3)]), ("ij,kl->", [(2, 3), (2, 2)]), ("ij,kl->jk", [(2, 3), (2, 2)]), ("ijl,kl->ik", [(2, 3, 2), (4, 2)]), ("ii,i->i", [(3, 3), (3,)]),
        ("ii,jj->ij", [(2, 2), (3, 3)]), (" i j , j -> i ", [(2, 3), (3,)]), (",i->i", [(), (3,)]), ("ij,", [(2, 3), ()]), ("ij,jk->ik", [(0, 3), (3, 2)]), ("ij,jk->ik", [(2, 0), (0, 2)]),
        ("i,ij->j", [(1,), (1, 3)]), ("bqhd,bkhd->bhqk", [(2, 2, 1, 3), (2, 3, 1, 3)]),
        # Broadcasting.
        ("...ij,...jk->...ik", [(2, 1, 2, 3), (2, 3, 2)]), ("...ij,jk", [(2, 2, 3), (3, 2)]), ("i...,...i", [(2, 3), (1, 2)]), ("...,...", [(2, 3), (3,)]), ("...i,...i->", [(2, 3), (1, 3)]),
        ("ij,ij->ij", [(2, 1), (2, 3)]), ("ij,jk->ik", [(2, 1), (3, 2)]), ("ij,ij->j", [(1, 3), (2, 3)]), ("...i,i->...", [(2, 2, 3), (3,)]),
        # Several.
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]), ("i,i,i->i", [(3,), (3,), (3,)]), ("i,i,i", [(3,), (3,), (3,)]), ("ij,ik,il->jkl", [(2, 2), (2, 3), (2, 2)]), ("ij,jk,ki->", [(2, 3), (3, 2), (2, 2)]),
        ("abc,cd,def,be->af", [(2, 2, 3), (3, 2), (2, 2, 3), (2, 2)]), ("i,j,k,l->lkji", [(2,), (1,), (3,), (2,)]), ("ab,bc,cd,de,ef,fg,gh,ha->", [(2, 2)] * 8),
        ("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", [(2, 2)] * 9), ("...a,...b,...c->...abc", [(2, 2), (1, 3), (2,)]), ("a,b,c->", [(2,), (3,), (2,)]),
    ]
    names = set()
    for equation, shapes in plan:
        sides = [sorted(side) for side in equation.split("->")]
        kind = "exact" if len(sides) == 2 and sides[0] == sides[1] else "reduction"
        name = "einsum_" + equation.replace(" ", "_").replace("->", "_to_").replace(",", "_and_").replace("...", "dots")
        while name in names:
            name += "_2"
        names.add(name)
        dtypes = ("f64", "f32") if equation in ("ij,jk->ik", "bi,bi->b", "ij,jk,kl->il") and 0 not in shapes[0] + shapes[1] else ("f64",)
        f = lambda *x: torch.einsum(equation, *x)
        differentiated(cases, name, "einsum", f, [normal(*s) for s in shapes], {"equation": equation}, kind, dtypes=dtypes)
    for equation, shapes in [("ij,jk->ik", [(2, 3), (3, 2)]), ("ij->j", [(2, 3)]), ("i,i,i->", [(3,), (3,), (3,)])]:
        for dtype, limit in ((torch.int64, 9), (torch.int32, 9)):
            x = [torch.randint(-limit, limit, s, dtype=dtype) for s in shapes]
            name = f"einsum_{equation}_{dtype}".replace("->", "_to_").replace(",", "_and_").replace("torch.", "")
            y = torch.einsum(equation, *x).to(dtype)
            cases.add(name, "einsum", {"equation": equation}, x, [y], TORCH, "exact")


def products(cases):
    plan = [
        ("tensordot", {"axes": 2}, [(2, 3, 2), (3, 2, 2)], lambda a, b: torch.tensordot(a, b, 2)),
        ("tensordot", {"axes": 0}, [(2,), (3, 2)], lambda a, b: torch.tensordot(a, b, 0)),
        ("tensordot", {"left": [1, 0], "right": [0, 1]}, [(2, 3, 2), (3, 2, 2)], lambda a, b: torch.tensordot(a, b, ([1, 0], [0, 1]))),
        ("tensordot", {"left": [-1], "right": [1]}, [(2, 3), (2, 3)], lambda a, b: torch.tensordot(a, b, ([-1], [1]))),
        ("dot", {}, [(4,), (4,)], torch.dot), ("dot", {}, [(0,), (0,)], torch.dot), ("outer", {}, [(2,), (3,)], torch.outer),
        ("inner", {}, [(2, 3), (3,)], torch.inner), ("inner", {}, [(2, 3), (2, 2, 3)], torch.inner), ("inner", {}, [(), (2,)], torch.inner),
        ("kron", {}, [(2,), (3,)], torch.kron), ("kron", {}, [(2, 2), (1, 3)], torch.kron), ("kron", {}, [(2,), (2, 2)], torch.kron), ("kron", {}, [(), (2,)], torch.kron),
        ("mv", {}, [(2, 3), (3,)], torch.mv), ("mm", {}, [(2, 3), (3, 2)], torch.mm), ("bmm", {}, [(2, 2, 3), (2, 3, 1)], torch.bmm),
        ("addmm", {"beta": 0.5, "alpha": 2.0}, [(1, 2), (3, 2), (2, 2)], lambda x, a, b: torch.addmm(x, a, b, beta=0.5, alpha=2.0)),
        ("addmv", {"beta": 1.0, "alpha": -1.5}, [(3,), (3, 2), (2,)], lambda x, a, b: torch.addmv(x, a, b, beta=1.0, alpha=-1.5)),
        ("addr", {"beta": 2.0, "alpha": 1.0}, [(), (3,), (2,)], lambda x, a, b: torch.addr(x, a, b, beta=2.0, alpha=1.0)),
        ("baddbmm", {"beta": 0.5, "alpha": 2.0}, [(2, 1, 2), (2, 2, 3), (2, 3, 2)], lambda x, a, b: torch.baddbmm(x, a, b, beta=0.5, alpha=2.0)),
        ("addbmm", {"beta": 0.5, "alpha": 2.0}, [(2, 2), (2, 2, 3), (2, 3, 2)], lambda x, a, b: torch.addbmm(x, a, b, beta=0.5, alpha=2.0)),
        ("multi_dot", {}, [(2, 3), (3, 1), (1, 4), (4, 2)], lambda *x: torch.linalg.multi_dot(x)), ("multi_dot", {}, [(3,), (3, 2), (2,)], lambda *x: torch.linalg.multi_dot(x)),
        ("multi_dot", {}, [(3,), (3, 2), (2, 2)], lambda *x: torch.linalg.multi_dot(x)),
        ("matrix_power", {"n": 0}, [(2, 2)], lambda x: torch.matrix_power(x, 0)), ("matrix_power", {"n": 1}, [(2, 2)], lambda x: torch.matrix_power(x, 1) * 1),
        ("matrix_power", {"n": 5}, [(2, 2, 2)], lambda x: torch.matrix_power(x, 5)), ("matrix_power", {"n": 6}, [(3, 3)], lambda x: torch.matrix_power(x, 6)),
    ]
    for i, (op, attrs, shapes, f) in enumerate(plan):
        x = [normal(*s) for s in shapes]
        gradients = not (op == "matrix_power" and attrs["n"] == 0)
        kind = "composition" if op == "matrix_power" else "reduction"
        differentiated(cases, f"{op}_{i}", op, f, x, attrs, kind, gradients=gradients, **ONE)
    x, a, b = torch.full((2,), float("nan"), dtype=torch.float64), normal(2, 2), normal(2, 2)
    f = lambda x, a, b: torch.addmm(x, a, b, beta=0, alpha=3)
    differentiated(cases, "addmm_ignored", "addmm", f, [x, a, b], {"beta": 0.0, "alpha": 3.0}, "reduction", gradients=False, **ONE)


def record(cases):
    einsums(cases)
    products(cases)
