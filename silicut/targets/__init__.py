"""What a network runs on: engines that can be measured, and the protocol of measuring."""

from silicut.targets.device.machine import inference_clock, machine_fingerprint
from silicut.targets.engine import Engine, EngineSettings, Model, NodeProfile, NodeTimes, NodeTiming, Session
from silicut.targets.engines import ENGINES, engine
from silicut.targets.measure import Measurement, MeasureOptions, Timing, measure
from silicut.targets.onnx_runtime import OnnxRuntime, attribute
from silicut.targets.onnx_runtime_int8 import OnnxRuntimeInt8
from silicut.targets.openvino import OpenVino
from silicut.targets.pytorch import PyTorch, PyTorchCompiled

__all__ = [
    "ENGINES",
    "Engine",
    "EngineSettings",
    "MeasureOptions",
    "Measurement",
    "Model",
    "NodeProfile",
    "NodeTimes",
    "NodeTiming",
    "OnnxRuntime",
    "OnnxRuntimeInt8",
    "OpenVino",
    "PyTorch",
    "PyTorchCompiled",
    "Session",
    "Timing",
    "attribute",
    "engine",
    "inference_clock",
    "machine_fingerprint",
    "measure",
]
