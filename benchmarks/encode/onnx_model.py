"""The backbone for ONNX Runtime: exported from transformers' own modules, then quantized to int8, linear layers only."""

from __future__ import annotations

from pathlib import Path

import torch

FILE = "model-int8.onnx"


def export(folder: Path) -> Path:
    """The quantized graph of a checkpoint, made if it is not there."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import XLMRobertaModel

    done = folder / FILE
    if done.exists():
        return done
    plain = folder / "model-fp32.onnx"
    model = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager").eval()

    class Backbone(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return states

        def __init__(self) -> None:
            super().__init__()
            self.model = model

    ids = torch.randint(5, 1000, (2, 9))
    axes = {0: torch.export.Dim("texts", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=8192)}
    torch.onnx.export(
        Backbone(),
        (ids, torch.ones_like(ids)),
        str(plain),
        input_names=["input_ids", "attention_mask"],
        output_names=["states"],
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        dynamo=True,
        external_data=True,
    )
    quantize_dynamic(
        str(plain),
        str(done),
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=False,
    )
    for path in folder.glob("model-fp32.onnx*"):
        path.unlink()
    return done
