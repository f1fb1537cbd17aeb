"""Networks of the shapes that sherpa-onnx runs, a few kilobytes each: not trained, but they hear whether a sound lies
low or high, so that loading, decoding, times and faults are the real library's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOKENS = ("<blk>", "低", "高")
_BINS = 80
_FLOAT, _INT64, _INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32
_ZIPFORMER = {
    "model_type": "zipformer2",
    "encoder_dims": "8",
    "query_head_dims": "4",
    "value_head_dims": "4",
    "num_heads": "1",
    "num_encoder_layers": "1",
    "cnn_module_kernels": "3",
    "left_context_len": "4",
    "T": "45",
    "decode_chunk_len": "32",
}
_STATES = {
    "key": (_FLOAT, (4, 1, 4)),
    "nonlin": (_FLOAT, (1, 1, 4, 6)),
    "value1": (_FLOAT, (4, 1, 4)),
    "value2": (_FLOAT, (4, 1, 4)),
    "conv1": (_FLOAT, (1, 8, 1)),
    "conv2": (_FLOAT, (1, 8, 1)),
    "embed": (_FLOAT, (1, 128, 3, 19)),
    "seen": (_INT64, (1,)),
}


def sense_voice(folder: Path, **altered: str | None) -> Path:
    """A SenseVoice in ``folder``; ``altered`` metadata is changed, or left out where it is None."""
    said = {
        **_front(560),
        "model_type": "sense_voice_ctc",
        "normalize_samples": "0",
        "with_itn": "14",
        "without_itn": "15",
        **{f"lang_{name}": str(number) for number, name in enumerate(("auto", "zh", "en", "ja", "ko", "yue"))},
    }
    marks = np.full((1, 4, len(TOKENS)), 0, np.float32)  # language, emotion, event, writing: skipped by the decoder
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["heard"]),
        helper.make_node("Concat", ["marks", "heard"], ["logits"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("x", _FLOAT, ["N", "T", 560]),
        *(helper.make_tensor_value_info(name, _INT32, ["N"]) for name in ("x_length", "language", "text_norm")),
    ]
    weights = [*_ear(7, blank=10.0), numpy_helper.from_array(marks, "marks")]
    outputs = [helper.make_tensor_value_info("logits", _FLOAT, ["N", "L", len(TOKENS)])]
    return _save(folder, "model.onnx", (nodes, inputs, outputs, weights), {**said, **altered})


def paraformer(folder: Path) -> Path:
    """A Paraformer in ``folder``: one token a frame, without an end."""
    nodes = [
        helper.make_node("MatMul", ["speech", "weight"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["logits"]),
        helper.make_node("Identity", ["speech_lengths"], ["token_num"]),
    ]
    inputs = [
        helper.make_tensor_value_info("speech", _FLOAT, ["N", "T", 560]),
        helper.make_tensor_value_info("speech_lengths", _INT32, ["N"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", _FLOAT, ["N", "T", len(TOKENS)]),
        helper.make_tensor_value_info("token_num", _INT32, ["N"]),
    ]
    tokens = (*TOKENS, "</s>")
    weight = np.pad(numpy_helper.to_array(_ear(7, blank=-1e3)[0]), ((0, 0), (0, 1)))
    weights = [
        numpy_helper.from_array(weight, "weight"),
        numpy_helper.from_array(np.array([-1e3, 0, 0, -1e3], np.float32), "bias"),
    ]
    outputs[0] = helper.make_tensor_value_info("logits", _FLOAT, ["N", "T", len(tokens)])
    said = {**_front(560), "model_type": "paraformer", "vocab_size": str(len(tokens))}
    return _save(folder, "model.int8.onnx", (nodes, inputs, outputs, weights), said, tokens)


def zipformer_ctc(folder: Path) -> Path:
    """A streaming Zipformer2 with a CTC head in ``folder``."""
    nodes, inputs, outputs, weights = _streaming("log_probs")
    nodes.append(helper.make_node("LogSoftmax", ["heard"], ["log_probs"], axis=2))
    return _save(folder, "ctc-epoch-1.onnx", (nodes, inputs, outputs, weights), _ZIPFORMER)


def zipformer_transducer(folder: Path) -> Path:
    """A streaming Zipformer2 transducer in ``folder``: what was said last is not said again at once."""
    nodes, inputs, outputs, weights = _streaming("encoder_out")
    nodes.append(helper.make_node("Identity", ["heard"], ["encoder_out"]))
    _save(folder, "encoder-epoch-1.onnx", (nodes, inputs, outputs, weights), _ZIPFORMER)
    size = len(TOKENS)
    table = -60 * np.eye(size, dtype=np.float32)
    table[0, 0] = 0
    decoder = (
        [
            helper.make_node("Gather", ["y", "last"], ["said"], axis=1),
            helper.make_node("Gather", ["table", "said"], ["decoder_out"], axis=0),
        ],
        [helper.make_tensor_value_info("y", _INT64, ["N", 2])],
        [helper.make_tensor_value_info("decoder_out", _FLOAT, ["N", size])],
        [numpy_helper.from_array(np.array(1), "last"), numpy_helper.from_array(table, "table")],
    )
    _save(folder, "decoder-epoch-1.onnx", decoder, {"vocab_size": str(size), "context_size": "2"})
    joiner = (
        [helper.make_node("Add", ["encoder_out", "decoder_out"], ["logit"])],
        [helper.make_tensor_value_info(name, _FLOAT, ["N", size]) for name in ("encoder_out", "decoder_out")],
        [helper.make_tensor_value_info("logit", _FLOAT, ["N", size])],
        [],
    )
    return _save(folder, "joiner-epoch-1.onnx", joiner, {"joiner_dim": str(size)})


def _front(width: int) -> dict[str, str]:
    return {
        "vocab_size": str(len(TOKENS)),
        "lfr_window_size": "7",
        "lfr_window_shift": "6",
        "neg_mean": ",".join(["0"] * width),
        "inv_stddev": ",".join(["1"] * width),
    }


def _ear(frames: int, blank: float) -> list[onnx.TensorProto]:
    """Weights that score the mean of the low mel bins for 低 and of the high ones for 高, against ``blank``."""
    low = np.zeros(_BINS, np.float32)
    low[5:30] = 1 / 25
    high = np.zeros(_BINS, np.float32)
    high[45:65] = 1 / 20
    weight = np.stack([np.zeros(_BINS, np.float32), low, high], axis=1)
    return [
        numpy_helper.from_array(np.tile(weight / frames, (frames, 1)), "weight"),
        numpy_helper.from_array(np.array([blank, 0, 0], np.float32), "bias"),
    ]


def _streaming(output: str) -> tuple[list, list, list, list]:
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axis", "step"], ["half"]),
        helper.make_node("MatMul", ["half", "weight"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["heard"]),
        *(helper.make_node("Identity", [name], [f"new_{name}"]) for name in _STATES),
    ]
    inputs = [
        helper.make_tensor_value_info("x", _FLOAT, ["N", 45, _BINS]),
        *(helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in _STATES.items()),
    ]
    outputs = [
        helper.make_tensor_value_info(output, _FLOAT, ["N", 8, len(TOKENS)]),
        *(helper.make_tensor_value_info(f"new_{name}", kind, shape) for name, (kind, shape) in _STATES.items()),
    ]
    cut = {"from": 0, "to": 32, "axis": 1, "step": 4}
    weights = [*_ear(1, blank=-9.0), *(numpy_helper.from_array(np.array([n]), name) for name, n in cut.items())]
    return nodes, inputs, outputs, weights


def _save(
    folder: Path,
    name: str,
    parts: tuple[list, list, list, list],
    metadata: dict[str, str | None],
    tokens: tuple[str, ...] = TOKENS,
) -> Path:
    folder.mkdir(exist_ok=True)
    nodes, inputs, outputs, weights = parts
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {key: value for key, value in metadata.items() if value is not None})
    onnx.checker.check_model(model)
    onnx.save(model, folder / name)
    lines = "".join(f"{token} {number}\n" for number, token in enumerate(tokens))
    (folder / "tokens.txt").write_text(lines, encoding="utf-8")
    return folder
