"""Which tensors of which modules can be masked, and how a masked tensor is found again in its model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Union, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

WEIGHT = "weight"
_PARTS = ("_g", "_v", "_orig")  # what torch.nn.utils calls the parameters behind a tensor that a hook computes

# Type of a module, or the full name of one that need not be installed -> patterns of its tensors' names.
MASKABLE: dict[Union[type[nn.Module], str], tuple[str, ...]] = {
    nn.Linear: (WEIGHT,),
    nn.Bilinear: (WEIGHT,),
    nn.Embedding: (WEIGHT,),
    nn.EmbeddingBag: (WEIGHT,),
    nn.Conv1d: (WEIGHT,),
    nn.Conv2d: (WEIGHT,),
    nn.Conv3d: (WEIGHT,),
    nn.ConvTranspose1d: (WEIGHT,),
    nn.ConvTranspose2d: (WEIGHT,),
    nn.ConvTranspose3d: (WEIGHT,),
    nn.MultiheadAttention: ("*_proj_weight",),  # packed, or one each; its output projection is a Linear
    nn.RNNBase: ("weight_*",),
    nn.RNNCellBase: ("weight_*",),
    "transformers.pytorch_utils.Conv1D": (WEIGHT,),
}


@dataclass(frozen=True)
class Place:
    """A tensor of a module in a model. module_name: "" for the model itself. tensor: the attribute's name."""

    module_name: str
    module: nn.Module
    tensor: str = WEIGHT

    @property
    def name(self) -> str:
        """What the tensor goes by: its module's name, and the attribute's where that is not ``weight``."""
        return self.module_name if self.tensor == WEIGHT else self.path

    @property
    def path(self) -> str:
        """The full name that the tensor has as a parameter of the unmasked model."""
        return f"{self.module_name}.{self.tensor}" if self.module_name else self.tensor

    @property
    def module_prefix(self) -> str:
        """What the names of the module's own tensors begin with."""
        return f"{self.module_name}." if self.module_name else ""

    @property
    def value(self) -> Tensor:
        """What the module computes with."""
        return cast(Tensor, getattr(self.module, self.tensor))

    @property
    def original(self) -> nn.Parameter:
        """The parameter behind it: itself, or the one that is parametrized."""
        if self.is_parametrized:
            return self.module.get_parameter(f"parametrizations.{self.tensor}.original")
        return self.module.get_parameter(self.tensor)

    @property
    def is_parametrized(self) -> bool:
        return parametrize.is_parametrized(self.module, self.tensor)

    @property
    def parametrization(self) -> nn.Module:
        """The first parametrization of a parametrized tensor."""
        return self.module.get_submodule(f"parametrizations.{self.tensor}.0")

    @property
    def parametrizations(self) -> nn.ModuleList:
        """All of them, the first one first."""
        return cast(nn.ModuleList, self.module.get_submodule(f"parametrizations.{self.tensor}"))

    @property
    def is_computed(self) -> bool:
        """Whether a hook computes it: torch.nn.utils' weight_norm and spectral_norm of before, or its prune."""
        return self.tensor in _computed(self.module)

    def check_alone(self) -> None:
        """Raises ``ValueError`` where the first parametrization is not the only one: what it gives is then not used."""
        if len(self.parametrizations) > 1:
            raise ValueError(f"{self.path} is under a second parametrization: remove that one first")

    def put(self, value: nn.Parameter) -> None:
        """Make ``value`` the module's tensor, or, where it is parametrized, what is behind it."""
        setattr(self.module, self.tensor, value)

    def parametrize_(self, how: nn.Module) -> None:
        """Compute the tensor by ``how`` from the parameter that it is now."""
        parametrize.register_parametrization(self.module, self.tensor, how, unsafe=True)
        _follow_(self.module)


def replace_(values: Mapping[Place, nn.Parameter]) -> None:
    """Put plain parameters where parametrized tensors are.

    torch's own way to remove a parametrization takes it from the copies of a module, too: they share a class.
    """
    tensors: dict[nn.Module, dict[str, nn.Parameter]] = {}
    for place, value in values.items():
        tensors.setdefault(place.module, {})[place.tensor] = value
    for module, plain in tensors.items():
        if set(cast(nn.ModuleDict, module.parametrizations)) == set(plain):
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
        else:
            _uncover_(module, list(plain))
        for tensor, value in plain.items():
            setattr(module, tensor, value)
        _follow_no_more_(module)


def _uncover_(module: nn.Module, tensors: Sequence[str]) -> None:
    """Remove some of a module's parametrizations, giving it a class without their properties for itself alone."""
    for tensor in tensors:
        del cast(nn.ModuleDict, module.parametrizations)[tensor]
    shared = type(module)
    own = {name: part for name, part in vars(shared).items() if name not in (*tensors, "__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, own)


def maskable_places(model: nn.Module) -> Iterator[Place]:
    """Every tensor of ``model`` that can be masked, tied ones each time, in the order of modules and parameters.

    Raises ``ValueError`` for a lazy module that has not seen a batch.
    """
    for module_name, module in model.named_modules():
        for tensor in _maskable(module):
            if isinstance(module._parameters.get(tensor), nn.parameter.UninitializedParameter):
                raise ValueError(f"{module_name} is lazy and has no weight yet: run one batch through the model first")
            place = Place(module_name, module, tensor)
            if not (place.is_parametrized or place.is_computed):
                _check_shape(place)
            yield place


def _check_shape(place: Place) -> None:
    shape = tuple(place.original.shape)
    if len(shape) < 2 or 0 in shape:
        raise ValueError(f"{place.path} has shape {list(shape)}: a mask needs two dimensions, none of them empty")
    if getattr(place.module, "sparse", False):
        raise ValueError(f"{place.module_name} has sparse gradients, and scores have not: make it with sparse=False")


def tied_places(model: nn.Module, places: Iterable[Place]) -> dict[nn.Parameter, list[Place]]:
    """The parameters at ``places``, each with all the places that it is at: one, or more where modules are tied.

    Raises ``ValueError`` where one is parametrized already or computed by a hook, or is tied to one that is not among
    ``places``.
    """
    tied: dict[nn.Parameter, list[Place]] = {}
    for place in places:
        if place.is_computed:
            raise ValueError(
                f"{place.path} is computed by torch.nn.utils' weight_norm, spectral_norm or prune: remove that first, "
                "by remove_weight_norm, remove_spectral_norm or prune.remove"
            )
        if place.is_parametrized:
            raise ValueError(
                f"{place.path} is parametrized already: fold_ the model first, or remove what is not a mask"
            )
        tied.setdefault(place.original, []).append(place)
    for name, module in model.named_modules():
        for tensor, parameter in module.named_parameters(recurse=False):
            others = tied.get(parameter, ())
            if others and not any(place.module is module and place.tensor == tensor for place in others):
                raise ValueError(
                    f"{name}.{tensor} is tied to {others[0].path}, and would stay dense: untie it, or mask both"
                )
    return tied


def parametrized_places(model: nn.Module, kind: type[nn.Module]) -> Iterator[Place]:
    """Every tensor of ``model`` whose first parametrization is of a kind, tied ones each time."""
    for module_name, module in model.named_modules():
        for tensor in getattr(module, "parametrizations", ()):
            place = Place(module_name, module, tensor)
            if isinstance(place.parametrization, kind):
                yield place


def _maskable(module: nn.Module) -> list[str]:
    patterns = [pattern for kind in type(module).__mro__ for pattern in _patterns(kind)]
    computed = _computed(module)
    plain = [name for name in module._parameters if name.rpartition("_")[0] not in computed]
    names = [*plain, *getattr(module, "parametrizations", ()), *computed]
    return [
        name
        for name in names
        if module._parameters.get(name, 0) is not None and any(fnmatchcase(name, p) for p in patterns)
    ]


def _computed(module: nn.Module) -> list[str]:
    """The tensors that torch.nn.utils' hooks compute of parameters named after them."""
    bases = dict.fromkeys(name.rpartition("_")[0] for name in module._parameters if name.endswith(_PARTS))
    return [name for name in bases if isinstance(vars(module).get(name), Tensor)]


def _patterns(kind: type) -> tuple[str, ...]:
    return MASKABLE.get(kind, ()) or MASKABLE.get(f"{kind.__module__}.{kind.__qualname__}", ())


def _follow_(module: nn.Module) -> None:
    """Recurrent modules keep a list of their weights: let it be what they are at each call."""
    if isinstance(module, nn.RNNBase) and _refresh not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_refresh)
        module.register_forward_hook(_release)


def _follow_no_more_(module: nn.Module) -> None:
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for number, hook in list(hooks.items()):
            if hook in (_refresh, _release):
                del hooks[number]
                _refresh(module, ())


def _refresh(module: Any, inputs: Any) -> None:
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _release(module: Any, inputs: Any, output: Any) -> None:
    """What is part of a graph cannot be copied."""
    module._flat_weights = [None] * len(module._flat_weights_names)
