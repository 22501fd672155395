"""Modules of PyTorch for test_readers.py: those that are read, and those that are refused."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Case(NamedTuple):
    """How to make a module, the shape of one sample, its output map, and, of one that is refused,
    words that the message holds.
    """

    make: object
    shape: tuple
    output: str = "identity"
    says: tuple = ()


READ, REFUSED = {}, {}


def read(*shape, output="identity"):
    """Mark a function that makes a module to be read."""

    def keep(make):
        READ[make.__name__] = Case(make, shape, output)
        return make

    return keep


def refused(*shape, says):
    """Mark a function that makes a module to be refused, with words that name layer and
    operation.
    """

    def keep(make):
        REFUSED[make.__name__] = Case(make, shape, says=says)
        return make

    return keep


class Forward(nn.Module):
    """A module with named parts and a function for `forward`, which gets the module and x."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.function = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def randomised(module, seed=0):
    """The module with other numbers where PyTorch begins with 0, 1 or a quarter: in batch
    normalisations and PReLUs.
    """
    torch.manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.track_running_stats:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.normal_(part.bias, 0, 0.2)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.5, 0.9)
    return module


# ------------------------------------------------------------------ chains and what stands in them


@read(5, output="softmax")
def perceptron_with_batch_norm_and_dropout():
    return nn.Sequential(
        nn.Linear(5, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(16, 8),
        nn.LeakyReLU(0.1),
        nn.Linear(8, 3),
        nn.Softmax(dim=1),
    )


@read(4, 11, 13, output="softmax")
def convolutions_of_all_kinds():
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 6, (3, 1), stride=(2, 1), padding=(1, 0), padding_mode="reflect"),
        nn.LeakyReLU(),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(6, 4),
        nn.LogSoftmax(1),
    )


@read(1, 10, 10, output="sigmoid")
def max_pool_with_ceil_mode():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 2),
        nn.Sigmoid(),
    )


@read(6)
def reused_modules():
    return Forward(
        lambda m, x: m.b(m.r(m.b(m.r(m.a(x))))) + 1,
        a=nn.Linear(6, 8),
        b=nn.Linear(8, 8),
        r=nn.ReLU(),
    )


def _loops(m, x):
    y = m.a(x)
    if x.shape[0] > 0 and y.shape[1] == 8:
        for _ in range(3):
            y = F.relu(y) * 0.5 + torch.arange(8, dtype=y.dtype) * 0.1
    q, k = y.chunk(2, dim=-1)
    return torch.einsum("bi,j->bij", q - k, torch.ones(2, dtype=y.dtype)).flatten(1)


@read(6)
def control_flow_and_einsum():
    return Forward(_loops, a=nn.Linear(6, 8))


def _clamps(m, x):
    y = m.p(m.a(x))
    y = F.relu6(m.c(y))
    y = F.hardtanh(m.c(y))
    y = torch.clamp(m.c(y), min=-0.3)
    y = torch.clamp(y, -0.2, 0.5)
    y = m.q(m.c(y)).abs()
    return torch.maximum(y, m.c(y)) + torch.minimum(y, y.flip(1))


@read(6)
def clamps_and_extrema():
    return Forward(_clamps, a=nn.Linear(6, 8), p=nn.PReLU(8), q=nn.PReLU(), c=nn.Linear(8, 8))


@read(4, 7, 7)
def prelu_a_channel():
    return nn.Sequential(nn.Conv2d(4, 5, 3), nn.PReLU(5), nn.Conv2d(5, 2, 3), nn.Flatten())


@read(5)
def relu6():
    return nn.Sequential(nn.Linear(5, 9), nn.ReLU6(), nn.Linear(9, 4))


@read(5)
def hardtanh_with_bounds():
    return nn.Sequential(nn.Linear(5, 9), nn.Hardtanh(-2.0, 0.5), nn.Linear(9, 4))


@read(5)
def clamps_with_one_bound():
    return Forward(
        lambda m, x: m.b(torch.clamp(m.a(x), min=0.1)) + m.b(torch.clamp(m.a(x), max=-0.2)),
        a=nn.Linear(5, 7),
        b=nn.Linear(7, 3),
    )


@read(5)
def hardsigmoid_inside():
    return nn.Sequential(nn.Linear(5, 9), nn.Hardsigmoid(), nn.Linear(9, 4))


@read(6)
def maximum_of_two_branches():
    return Forward(
        lambda m, x: m.c(torch.maximum(m.a(x), m.b(x))),
        a=nn.Linear(6, 8),
        b=nn.Linear(6, 8),
        c=nn.Linear(8, 3),
    )


@read(6)
def maxout():
    return Forward(
        lambda m, x: m.b(m.a(x).view(-1, 5, 4).max(dim=2).values),
        a=nn.Linear(6, 20),
        b=nn.Linear(5, 3),
    )


@read(4, output="sigmoid")
def one_probability():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1), nn.Sigmoid())


@read(4, output="softmax")
def functions_for_layers():
    return Forward(
        lambda m, x: F.log_softmax(m.b(F.relu(F.dropout(m.a(x), training=m.training))), dim=-1),
        a=nn.Linear(4, 6),
        b=nn.Linear(6, 3),
    )


@read(6)
def a_matrix_of_its_own():
    made = Forward(lambda m, x: torch.relu(x @ m.w) @ m.w.T - m.c)
    made.w = nn.Parameter(torch.randn(6, 9))
    made.register_buffer("c", torch.randn(6))
    return made


@read(3, 6, 6)
def pixels_normalised_by_buffers():
    made = Forward(
        lambda m, x: m.net((x - m.mean) / m.std),
        net=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)),
    )
    made.register_buffer("mean", torch.rand(3, 1, 1))
    made.register_buffer("std", torch.rand(3, 1, 1) + 0.5)
    return made


@read(5, output="sigmoid")
def weights_under_parametrisations():
    norms = nn.utils.parametrizations
    return nn.Sequential(
        norms.weight_norm(nn.Linear(5, 8)),
        nn.ReLU(),
        norms.spectral_norm(nn.Linear(8, 4)),
        nn.Sigmoid(),
    )


@read(4)
def doubles():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).double()


@read(4)
def half_precision():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)).bfloat16()


@read(4)
def without_gradients_in_training_mode():
    made = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.ReLU(), nn.Linear(6, 3))
    return made.requires_grad_(False).train()


@read(6)
def batch_norms_of_all_kinds():
    return nn.Sequential(
        nn.BatchNorm1d(6),
        nn.Linear(6, 8, bias=False),
        nn.BatchNorm1d(8, affine=False),
        nn.ReLU(),
        nn.BatchNorm1d(8, eps=0.1),
        nn.Linear(8, 3),
        nn.BatchNorm1d(3),
    )


@read(5)
def only_a_linear_layer():
    return nn.Linear(5, 3)


@read(4)
def relus_on_relus():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.ReLU(), nn.LeakyReLU(), nn.Linear(6, 2))


@read(4)
def a_relu_at_the_end():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2), nn.ReLU())


@read(4)
def a_relu_at_the_beginning():
    return nn.Sequential(nn.ReLU(), nn.Linear(4, 6), nn.ReLU6(), nn.Linear(6, 2))


# ------------------------------------------------------------------------- images and signals


@read(3, 8, 8)
def depthwise_separable():
    """An inverted residual, as in MobileNet."""
    part = nn.Sequential(
        nn.Conv2d(3, 12, 1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU6(),
        nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU6(),
        nn.Conv2d(12, 3, 1, bias=False),
        nn.BatchNorm2d(3),
    )
    return Forward(
        lambda m, x: m.head((x + m.part(x)).mean((2, 3))), part=part, head=nn.Linear(3, 2)
    )


@read(2, 9, 12)
def asymmetric_strides():
    return nn.Sequential(
        nn.Conv2d(2, 4, (3, 5), stride=(1, 3), padding=(0, 2)),
        nn.ReLU(),
        nn.Conv2d(4, 3, (2, 1), stride=(3, 1)),
        nn.Flatten(),
    )


@read(2, 9, 9)
def dilated_with_same_padding():
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, dilation=2, padding="same"),
        nn.ReLU(),
        nn.Conv2d(4, 1, 2, padding="same"),
    )


def _unet(m, x):
    a = m.relu(m.down1(x))
    b = m.relu(m.down2(m.pool(a)))
    return m.end(m.relu(torch.cat([m.up(b), a], 1)))


@read(2, 8, 8)
def u_net():
    return Forward(
        _unet,
        down1=nn.Conv2d(2, 4, 3, padding=1),
        pool=nn.MaxPool2d(2),
        down2=nn.Conv2d(4, 8, 3, padding=1),
        up=nn.ConvTranspose2d(8, 4, 2, stride=2),
        end=nn.Conv2d(8, 3, 1),
        relu=nn.ReLU(),
    )


@read(4, 5, 6)
def transposed_of_all_kinds():
    return nn.Sequential(
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 3, (2, 3), stride=(1, 2), dilation=(2, 1)),
        nn.ReLU(),
        nn.Conv2d(3, 1, 1),
    )


def _dense_block(m, x):
    for conv, norm in zip(m.convs, m.norms):
        x = torch.cat([x, conv(F.relu(norm(x)))], 1)
    return m.head(x.mean((2, 3)))


@read(3, 6, 6)
def dense_concatenation():
    return Forward(
        _dense_block,
        convs=nn.ModuleList([nn.Conv2d(3 + 4 * k, 4, 3, padding=1) for k in range(3)]),
        norms=nn.ModuleList([nn.BatchNorm2d(3 + 4 * k) for k in range(3)]),
        head=nn.Linear(15, 5),
    )


class Residual(nn.Module):
    """A residual block; `before`: batch norms and ReLUs stand before the convolutions."""

    def __init__(self, n_in, n_out, stride=1, before=False):
        super().__init__()
        self.before = before
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_in if before else n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.down = None
        if stride != 1 or n_in != n_out:
            self.down = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride), nn.BatchNorm2d(n_out))

    def forward(self, x):
        skip = x if self.down is None else self.down(x)
        if self.before:
            out = self.conv1(self.relu(self.norm1(x.clone())))
            return self.conv2(self.relu(self.norm2(out))) + skip
        out = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        out += skip
        return self.relu(out)


def _resnet(m, x):
    x = m.blocks(m.stem(x))
    x = F.adaptive_avg_pool2d(x, 1)
    return m.head(x.view(x.size(0), -1))


def _residual(stem, widths, before=False, each=1):
    """A residual network with a stem that ends in widths[0] channels."""
    blocks = []
    for k, (n_in, n_out) in enumerate(zip([widths[0], *widths], widths)):
        blocks += [Residual(n_in, n_out, 2 if k else 1, before)]
        blocks += [Residual(n_out, n_out, 1, before) for _ in range(each - 1)]
    return Forward(
        _resnet, stem=stem, blocks=nn.Sequential(*blocks), head=nn.Linear(widths[-1], 10)
    )


@read(3, 16, 16)
def resnet_20():
    stem = nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    return _residual(stem, [4, 8, 16], each=3)


@read(3, 32, 32)
def resnet_18():
    stem = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )
    return _residual(stem, [4, 8, 16, 32], each=2)


@read(3, 8, 8)
def activations_before_convolutions():
    return _residual(nn.Conv2d(3, 4, 3, 1, 1), [4, 6], before=True)


@read(1, 4, 4)
def pixel_shuffle_and_bilinear():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.PixelShuffle(2),
        nn.ReLU(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ZeroPad2d(1),
        nn.Flatten(),
    )


@read(2, 4, 6)
def pixel_unshuffle():
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 3, 2), nn.ReLU(), nn.Flatten())


@read(2, 4, 5)
def nearest_upsampling():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Upsample(scale_factor=(2, 3)), nn.Conv2d(3, 1, 2)
    )


@read(2, 5, 4)
def bilinear_to_a_size():
    return nn.Sequential(
        nn.Conv2d(2, 3, 2),
        nn.ReLU(),
        nn.Upsample(size=(7, 6), mode="bilinear", align_corners=True),
        nn.Conv2d(3, 1, 2),
    )


@read(3, 7, 9)
def global_pools():
    return Forward(
        lambda m, x: m.head(torch.cat([m.mean(m.conv(x)), m.most(m.conv(x))], 1).flatten(1)),
        conv=nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        mean=nn.AdaptiveAvgPool2d(1),
        most=nn.AdaptiveMaxPool2d(1),
        head=nn.Linear(8, 3),
    )


@read(2, 8, 6)
def adaptive_pools():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 3)), nn.Flatten()
    )


@read(2, 7, 9)
def adaptive_pools_with_uneven_windows():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten())


@read(2, 6, 6)
def bicubic():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Upsample(scale_factor=2, mode="bicubic"), nn.Flatten()
    )


@read(2, 4, 4)
def rolled_and_unfolded():
    return Forward(
        lambda m, x: m.head(F.unfold(torch.roll(x, 1, 2), 2).flatten(1)), head=nn.Linear(72, 3)
    )


@read(2, 9, 10)
def padded_average_pools():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.ReLU(),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AvgPool2d((2, 1), 1, (1, 0)),
        nn.Flatten(),
    )


@read(2, 9, 10)
def padded_and_dilated_max_pools():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.ReLU(),
        nn.MaxPool2d(2, 1, dilation=2),
        nn.Flatten(),
    )


@read(3, 20)
def signals():
    return nn.Sequential(
        nn.Conv1d(3, 6, 5, stride=2, padding=2),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(6, 4, 3, dilation=2, groups=2),
        nn.ReLU(),
        nn.ConvTranspose1d(4, 2, 3, stride=2),
        nn.AvgPool1d(2),
        nn.Flatten(),
        nn.Linear(2, 3),
    )


@read(2, 6, 7)
def paddings():
    return nn.Sequential(
        nn.ReflectionPad2d((1, 2, 0, 1)),
        nn.Conv2d(2, 3, 3),
        nn.ReLU(),
        nn.ReplicationPad2d(1),
        nn.Conv2d(3, 2, 2, padding=1, padding_mode="circular"),
        nn.ConstantPad2d((1, 0, 0, 0), 0.5),
        nn.Flatten(),
    )


@read(4, 5, 5)
def channels_last():
    made = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 3), nn.Flatten())
    return made.to(memory_format=torch.channels_last)


def _shuffled(m, x):
    n, c, h, w = x.shape
    x = m.a(x).view(n, 2, 3, h, w).transpose(1, 2).reshape(n, 6, h, w)
    x = F.relu(m.b(x)).permute(0, 2, 3, 1)
    return m.head(x).permute(0, 3, 1, 2)[:, :, ::2, 1:].contiguous()


@read(4, 5, 5)
def views_and_permutations():
    return Forward(
        _shuffled,
        a=nn.Conv2d(4, 6, 3, padding=1, groups=2),
        b=nn.Conv2d(6, 4, 1),
        head=nn.Linear(4, 3),
    )


def _inception(m, x):
    a, b, c = torch.split(m.stem(x), [2, 3, 1], dim=1)
    first, second = b.chunk(2, dim=2)
    b = torch.cat([second, first], dim=2)
    return m.head(torch.cat([F.relu(m.one(a)), F.max_pool2d(b, 3, 1, 1), c], 1)).flatten(1)


@read(3, 6, 6)
def splits_and_chunks():
    return Forward(
        _inception,
        stem=nn.Conv2d(3, 6, 1),
        one=nn.Conv2d(2, 2, 3, padding=1),
        head=nn.Conv2d(6, 2, 6),
    )


@read(2, 6, 6)
def unflattened():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(72, 16),
        nn.ReLU(),
        nn.Unflatten(1, (4, 2, 2)),
        nn.ConvTranspose2d(4, 1, 3),
    )


@read(6, 5)
def mixer_of_tokens():
    """Linear layers along both axes of a table, as in an MLP-mixer without its norms."""
    return Forward(
        lambda m, x: m.head((x + m.tokens(x.transpose(1, 2)).transpose(1, 2)).mean(1)),
        tokens=nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)),
        head=nn.Linear(5, 3),
    )


@read(8)
def siamese():
    return Forward(
        lambda m, x: (m.part(x[:, :4]) - m.part(x[:, 4:])).abs().sum(1, keepdim=True),
        part=nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)),
    )


@read(5)
def stacked_and_summed():
    return Forward(
        lambda m, x: torch.stack([m.a(x), m.b(x), -x[:, :3]], dim=1).mean(dim=1),
        a=nn.Linear(5, 3),
        b=nn.Sequential(nn.Linear(5, 3), nn.ReLU()),
    )


@read(5)
def a_branch_that_nothing_reads():
    """It comes after the head, and must not be taken for the output."""

    def forward(m, x):
        y = m.head(F.relu(m.a(x)))
        m.other(y)
        return y

    return Forward(forward, a=nn.Linear(5, 6), head=nn.Linear(6, 3), other=nn.Linear(3, 3))


# ---------------------------------------------------------------------------------- refusals


@refused(3, says=("Tanh '1'",))
def tanh():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@refused(3, says=("Gelu 'act'",))
def gelu():
    return Forward(
        lambda m, x: m.b(m.act(m.a(x))), a=nn.Linear(3, 4), act=nn.GELU(), b=nn.Linear(4, 2)
    )


@refused(3, says=("Mul '1'", "sigmoid"))
def silu():
    return nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Linear(4, 2))


@refused(3, says=("HardSwish '1'",))
def hardswish():
    return nn.Sequential(nn.Linear(3, 4), nn.Hardswish(), nn.Linear(4, 2))


@refused(3, says=("Elu '1'",))
def elu():
    return nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 2))


@refused(3, says=("Softplus '1'",))
def softplus():
    return nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2))


@refused(3, says=("'2': it reads what a sigmoid writes",))
def sigmoid_inside():
    return nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2))


@refused(3, says=("'2': it reads what a softmax writes",))
def softmax_inside():
    return nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2))


@refused(3, says=("LayerNormalization '1'",))
def layer_norm():
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))


@refused(4, 5, 5, says=("InstanceNormalization 'norm'",))
def group_norm():
    return Forward(lambda m, x: m.norm(x).flatten(1), norm=nn.GroupNorm(2, 4))


@refused(5, 4, says=("MatMul 'attention",))
def attention():
    return Forward(
        lambda m, x: m.attention(x, x, x, need_weights=False)[0].flatten(1),
        attention=nn.MultiheadAttention(4, 2, batch_first=True),
    )


@refused(4, 5, 5, says=("Mul", "sigmoid"))
def squeeze_and_excitation():
    return Forward(
        lambda m, x: (x * torch.sigmoid(m.gate(x.mean((2, 3))))[:, :, None, None]).flatten(1),
        gate=nn.Linear(4, 4),
    )


@refused(3, says=("Mul", "two computed tensors"))
def product_of_branches():
    return Forward(lambda m, x: m.a(x) * m.b(x), a=nn.Linear(3, 2), b=nn.Linear(3, 2))


@refused(3, says=("Div", "divides by a computed tensor"))
def division_by_a_branch():
    return Forward(lambda m, x: m.a(x) / (1 + m.b(x).abs()), a=nn.Linear(3, 2), b=nn.Linear(3, 2))


@refused(3, says=("2 outputs",))
def two_heads():
    return Forward(lambda m, x: (m.a(x), m.b(x)), a=nn.Linear(3, 2), b=nn.Linear(3, 2))


@refused(5, 4, says=("LSTM 'lstm'",))
def lstm():
    return Forward(lambda m, x: m.lstm(x)[0][:, -1], lstm=nn.LSTM(4, 3, batch_first=True))


@refused(4, says=("ReduceMean", "samples"))
def samples_that_see_each_other():
    return Forward(lambda m, x: m.a(x - x.mean(0)), a=nn.Linear(4, 2))


@refused(4, says=("'norm'", "samples"))
def batch_norm_by_the_batch():
    return Forward(
        lambda m, x: m.b(m.norm(m.a(x))),
        a=nn.Linear(4, 5),
        norm=nn.BatchNorm1d(5, track_running_stats=False),
        b=nn.Linear(5, 2),
    )


@refused(4, says=("other numbers", "dropout or noise"))
def dropout_that_never_ends():
    return Forward(
        lambda m, x: m.b(F.dropout(m.a(x), training=True)), a=nn.Linear(4, 5), b=nn.Linear(5, 2)
    )


@refused(4, says=("other numbers", "dropout or noise"))
def noise():
    return Forward(lambda m, x: m.a(x) + torch.randn(2), a=nn.Linear(4, 2))


@refused(4, says=("LessOrEqual '1'",))
def threshold_with_a_jump():
    return nn.Sequential(nn.Linear(4, 5), nn.Threshold(0.3, 0.0), nn.Linear(5, 2))


@refused(4, says=("int64",))
def a_class_for_an_output():
    return Forward(lambda m, x: m.a(x).argmax(1), a=nn.Linear(4, 2))


@refused(4, says=("ReduceL2",))
def inputs_of_unit_length():
    return Forward(lambda m, x: m.a(F.normalize(x)), a=nn.Linear(4, 2))


@refused(6, says=("cannot export", "rrelu"))
def randomised_leaky_relu():
    return nn.Sequential(nn.Linear(6, 8), nn.RReLU(), nn.Linear(8, 3))


@refused(5, says=("Mul '1'", "sigmoid"))
def gated_linear_unit():
    return nn.Sequential(nn.Linear(5, 4), nn.GLU(), nn.Linear(2, 2))


@refused(1, 3, 4, 4, says=("Conv '0'", "expected one or two dimensions"))
def convolution_of_volumes():
    return nn.Sequential(nn.Conv3d(1, 2, 2), nn.ReLU(), nn.Flatten())
