"""What happens to tensors between the wire and the model: pre- and postprocessing pipelines and their options."""

from tensorhost.pipelines.options import PostprocessingOptions, PreprocessingOptions
from tensorhost.pipelines.postprocessing import PostprocessingPipeline
from tensorhost.pipelines.preprocessing import PreprocessingPipeline

__all__ = ["PostprocessingOptions", "PostprocessingPipeline", "PreprocessingOptions", "PreprocessingPipeline"]
