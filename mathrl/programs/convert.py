"""A Hugging Face folder to one of ours, or back; which way is told by what the source holds."""
import dataclasses

import jax
from etils import epath

from mathrl.checkpoint import Checkpoints
from mathrl.models import hf_export, hf_import
from mathrl.models.llama import Llama
from mathrl.programs import trained_model


def run(*, workdir: epath.Path, source: str, target: str, mesh, param_dtype: str = '', file_gb: float = 5.0, config: str = '',
        dry_run: bool = False) -> None:
    """Writes the model of `source` to the folder `target` in the other form.

    source: a folder with config.json and safetensors, which becomes model.json and checkpoints/0; or a trained model's
    folder, whose last checkpoint is exported. param_dtype: of what is written; '' for that of the source. file_gb: the
    largest safetensors file.
    """
    folder, exports = epath.Path(source), (epath.Path(source) / 'model.json').exists()
    if not exports and not hf_import.is_hugging_face(source):
        raise ValueError(f'SOURCE={source!r} holds neither a model.json (a trained model) nor a config.json (Hugging Face)')
    if param_dtype not in ('', *hf_export.DTYPES):
        raise ValueError(f'unknown param_dtype {param_dtype!r}; there are: {", ".join(hf_export.DTYPES)}, and \'\' for the source\'s')
    if folder.resolve() == epath.Path(target).resolve():
        raise ValueError(f'SOURCE and TARGET are the same folder {source!r}')
    made = epath.Path(target) / ('config.json' if exports else 'checkpoints/0')
    if made.exists():
        raise ValueError(f'TARGET={target!r} holds a model already ({made.name}): take another folder, or remove it')
    model_config, tokenizer, open_params = trained_model.open_readable(source)
    written = dataclasses.replace(model_config, param_dtype=param_dtype or model_config.param_dtype)
    if dry_run:
        print(trained_model.parameter_table(Llama(written), mesh))
        print(f'convert: {source} to {"Hugging Face" if exports else "a checkpoint"} in {target}')
        return
    epath.Path(target).mkdir(parents=True, exist_ok=True)
    with jax.set_mesh(mesh):
        params = open_params(Llama(model_config if exports else written), mesh)
        if exports:
            _export(epath.Path(target), params, written, tokenizer, file_gb)
        else:
            _import(epath.Path(target), params, written, tokenizer, source, config)
    if jax.process_index() == 0:
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        print(f'convert: {count:,} parameters in {written.param_dtype} from {source} to {target}')


def _import(target: epath.Path, params: dict, config, tokenizer, source: str, gin: str) -> None:
    trained_model.begin(target, config, tokenizer)
    with Checkpoints(target / 'checkpoints') as checkpoints:
        checkpoints.save(0, {'params': params}, {'config': gin, 'model': 'model.json', 'source': source})


def _export(target: epath.Path, params: dict, config, tokenizer, file_gb: float) -> None:
    params = jax.tree.map(lambda x: x.astype(config.param_dtype), params)
    if jax.process_index() == 0:
        tokenizer.export(target)
    stop_ids = list(tokenizer.stop_ids)
    token_ids = {'bos_token_id': tokenizer.bos_id, 'eos_token_id': stop_ids if len(stop_ids) > 1 else stop_ids[0],
                 'pad_token_id': tokenizer.pad_id}
    hf_export.save(target, params, config, token_ids, int(file_gb * 1e9))
