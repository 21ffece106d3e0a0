"""Collectives counted from HLO: written by hand, and of a program that the CPU compiler made."""
import jax
import jax.numpy as jnp

from mathrl import sharding
from mathrl.programs.collectives import Collective, array_bytes, collectives

HLO = """HloModule jit_f, is_scheduled=true

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%body (p: (s32[], bf16[8,4])) -> (s32[], bf16[8,4]) {
  %all-gather.1 = bf16[8,4]{1,0:T(8,128)} all-gather(%x), replica_groups=[1,4]<=[4], dimensions={0}
  %all-reduce.1 = (f32[4]{0}, f32[2,2]{1,0}) all-reduce(%y, %z), to_apply=%add
}

%condition (p: (s32[], bf16[8,4])) -> pred[] {
  %bound = s32[]{:T(128)} constant(30)
  ROOT %less = pred[] compare(%i, %bound), direction=LT
}

ENTRY %main (x: bf16[2,4]) -> bf16[8,4] {
  %loop = (s32[], bf16[8,4]) while(%start), condition=%condition, body=%body
  %gathered = (bf16[2,4], bf16[8,4]) all-gather-start(%x), dimensions={0}
  ROOT %done = bf16[8,4] all-gather-done(%gathered)
}
"""


def test_a_loop_counts_as_often_as_it_runs():
    assert collectives(HLO) == {'all-gather': Collective(31, 31 * 64), 'all-reduce': Collective(30, 30 * 32)}


def test_a_loop_whose_end_is_not_said_counts_as_often_as_is_told():
    by_argument = HLO.replace('%bound = s32[]{:T(128)} constant(30)', '%bound = s32[]{:T(128)} get-tuple-element(%p), index=0')
    assert collectives(by_argument)['all-reduce'] == Collective(1, 32)
    assert collectives(by_argument, turns=8)['all-reduce'] == Collective(8, 8 * 32)


def test_bytes_of_shapes():
    assert array_bytes('(f32[2,3]{1,0:T(8,128)}, bf16[4], pred[], s32[])') == 24 + 8 + 1 + 4


def test_a_compiled_loop_over_layers():
    """Each of 5 turns gathers a weight cut over 8 devices."""
    mesh = sharding.make_mesh(1, 8, 1)
    with jax.set_mesh(mesh):
        def scan(h_BD, w_LDF):
            step = lambda h_BD, w_DF: (sharding.constrain(h_BD @ sharding.constrain(w_DF, 'DF'), 'BD'), None)
            return jax.lax.scan(step, h_BD, w_LDF)[0]
        w = jax.ShapeDtypeStruct((5, 16, 16), jnp.float32, sharding=sharding.parameter_shardings(
            mesh, {'w_DF': jax.ShapeDtypeStruct((5, 16, 16), jnp.float32)})['w_DF'])
        h = jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=sharding.placed_sharding(mesh, (8, 16), 'BT'))
        found = collectives(jax.jit(scan).lower(h, w).compile().as_text())
    assert found == {'all-gather': Collective(5, 5 * 16 * 16 * 4)}
