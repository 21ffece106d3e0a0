"""A SentencePiece model as a Hugging Face tokenizer.json: the same pieces, ids and splits."""
import json

# Of sentencepiece's ModelProto.
_UNIGRAM, _BPE = 1, 2
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED = 1, 2, 3, 4
_SPACE = '\u2581'


def changes_texts(model: bytes) -> bool:
    """Whether a model normalizes texts before it splits them, or adds a space in front: no tokenizer.json is made of it."""
    from sentencepiece import sentencepiece_model_pb2
    spec = sentencepiece_model_pb2.ModelProto.FromString(model).normalizer_spec
    return bool(spec.precompiled_charsmap or spec.remove_extra_whitespaces or spec.add_dummy_prefix)


def convert(model: bytes) -> dict[str, str]:
    """{'tokenizer.json': text, 'tokenizer_config.json': text} of a model that does not change texts."""
    from sentencepiece import sentencepiece_model_pb2
    import tokenizers
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    trainer = proto.trainer_spec
    made = tokenizers.Tokenizer(_model(proto, trainer.model_type))
    made.normalizer = tokenizers.normalizers.Replace(' ', _SPACE)
    steps = tokenizers.decoders
    made.decoder = steps.Sequence([steps.Replace(_SPACE, ' '), steps.ByteFallback(), steps.Fuse()])
    # AddedTokens are cut out of a text before it is split, as user-defined pieces are; control pieces never come from a text.
    added = tokenizers.AddedToken
    of_type = lambda kind: [piece.piece for piece in proto.pieces if piece.type == kind]
    made.add_special_tokens([added(piece, normalized=False, special=True) for piece in of_type(_CONTROL)])
    made.add_tokens([added(piece, normalized=True) for piece in of_type(_USER_DEFINED)])
    names = {'eos_token': trainer.eos_id, 'pad_token': trainer.pad_id, 'unk_token': trainer.unk_id, 'bos_token': trainer.bos_id}
    names = {kind: proto.pieces[place].piece for kind, place in names.items() if place >= 0}
    config = names | {'tokenizer_class': 'PreTrainedTokenizerFast', 'clean_up_tokenization_spaces': False}
    return {'tokenizer.json': made.to_str(pretty=True), 'tokenizer_config.json': json.dumps(config, indent=2) + '\n'}


def _model(proto, kind: int):
    import tokenizers
    pieces, unknown = [piece.piece for piece in proto.pieces], proto.trainer_spec.unk_id
    if kind == _UNIGRAM:
        scored = [(piece.piece, piece.score) for piece in proto.pieces]
        return tokenizers.models.Unigram(scored, unk_id=unknown, byte_fallback=True)
    if kind != _BPE:
        raise ValueError('a tokenizer.json can be made of SentencePiece models of type bpe and unigram alone')
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    joined = sorted((piece for piece in proto.pieces if piece.type == _NORMAL), key=lambda piece: -piece.score)
    halves = [(piece.piece[:cut], piece.piece[cut:]) for piece in joined for cut in range(1, len(piece.piece))]
    merges = [(left, right) for left, right in halves if left in vocabulary and right in vocabulary]
    return tokenizers.models.BPE(vocabulary, merges, unk_token=pieces[unknown], byte_fallback=True, fuse_unk=False)
