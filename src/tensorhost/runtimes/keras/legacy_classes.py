"""The classes of Keras 2: which Keras 3 has as well, which it calls otherwise, and which are refused and why. Pure."""

from __future__ import annotations

_LAYERS_NAMES = """
    Activation ActivityRegularization Add AddLoss AddMetric AdditiveAttention AlphaDropout Attention Average
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
    Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D
    ConvLSTM3D Cropping1D Cropping2D Cropping3D CuDNNGRU CuDNNLSTM Dense DepthwiseConv1D DepthwiseConv2D
    Discretization Dot Dropout ELU EinsumDense Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalMaxPooling3D GroupNormalization HashedCrossing Hashing Identity InputLayer IntegerLookup LSTM LSTMCell
    Lambda LayerNormalization LeakyReLU Masking MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum
    MultiHeadAttention Multiply Normalization PReLU Permute RNN RandomCrop ReLU RepeatVector Rescaling Reshape
    Resizing SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
"""
LAYERS = frozenset(_LAYERS_NAMES.split())
"""Layers that are translated."""

RENAMED = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
}
"""Layers that Keras 3 has under another name."""

_AUGMENTATIONS_NAMES = """
    RandomBrightness RandomContrast RandomFlip RandomHeight RandomRotation RandomTranslation RandomWidth RandomZoom
"""
AUGMENTATIONS = frozenset(_AUGMENTATIONS_NAMES.split())
"""Layers that change images in training only."""

REFUSED = {
    "LocallyConnected1D": "Keras 3 no longer has it",
    "LocallyConnected2D": "Keras 3 no longer has it",
    "RandomFourierFeatures": "Keras 3 no longer has it",
    "DenseFeatures": "it needs feature columns, which Keras 3 no longer has",
    "SequenceFeatures": "it needs feature columns, which Keras 3 no longer has",
    "TensorFlowOpLayer": "it holds a piece of a TensorFlow graph",
    "Merge": "it is a layer of Keras 1",
    "MaxoutDense": "it is a layer of Keras 1",
    "Highway": "it is a layer of Keras 1",
    "AtrousConvolution1D": "it is a layer of Keras 1",
    "AtrousConvolution2D": "it is a layer of Keras 1",
    "Deconvolution2D": "it is a layer of Keras 1",
    "TimeDistributedDense": "it is a layer of Keras 1",
    "InstanceMethod": "Keras 3 cannot call methods of TensorFlow's tensors",
    "InstanceProperty": "Keras 3 cannot read properties of TensorFlow's tensors",
    "ClassMethod": "Keras 3 cannot call methods of TensorFlow's classes",
}
"""Layers that cannot be translated, with the reason."""

_ACTIVATIONS_NAMES = """
    elu exponential gelu leaky_relu linear log_softmax mish relu relu6 selu sigmoid silu softmax softplus softsign
    swish tanh
"""
ACTIVATIONS = frozenset(_ACTIVATIONS_NAMES.split())
"""Activations that are the same in Keras 2 and Keras 3."""
