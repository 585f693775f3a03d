"""A recipe: every setting of a run, one model per stage. Field descriptions are the `--help`; presets are TOML values.

Defaults are the paper's at COCO scale (method.md, "Recipes at paper scale"); recipes/*.toml change what differs.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.base.errors import ConcatError
from pipelines.base.files import write_text
from pipelines.base.terms import Protocol, Task

SHIPPED = Path(__file__).parent


def _setting(default: Any, meaning: str, **limits: Any) -> Any:
    return Field(default, description=meaning, **limits)


def _cosmetic(default: Any, meaning: str, **limits: Any) -> Any:
    """A setting that cannot change a result, so that changing it makes nothing stale."""
    return Field(default, description=meaning, json_schema_extra={"cosmetic": True}, **limits)


def _path(meaning: str) -> Any:
    return Field("", description=meaning, json_schema_extra={"path": "always"})


def _name_or_path(default: str, meaning: str) -> Any:
    return Field(default, description=meaning, json_schema_extra={"path": "or name"})


class Settings(BaseModel):
    """Base of all settings: unknown keys and changes after checking are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def that_matter(self) -> dict[str, Any]:
        """The settings without the cosmetic ones, as plain values for hashing."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("cosmetic"):
                continue
            value = getattr(self, name)
            kept[name] = value.that_matter() if isinstance(value, Settings) else value
        return kept


class MicrococoSettings(Settings):
    """The embedded world, rendered into the cache before the split."""

    render: bool = _setting(False, "Render micrococo and use it as the data set.")
    train: int = _setting(6000, "Training scenes (images).", ge=1)
    val: int = _setting(400, "Validation scenes (images).", ge=1)
    tune: int = _setting(400, "Scenes of the tuning split (images), on which settings may be chosen.", ge=1)
    size: int = _setting(96, "Side of a scene (px).", ge=64)
    seed: int = _setting(0, "Seed of the scenes.", ge=0)
    evaluate_on: Literal["val", "tune"] = _setting("val", "Split that `eval` scores.")


class DataSettings(Settings):
    """Where images and labels lie, which categories are unseen, and what becomes of their pixels.

    The recipe's task says what labels are: a COCO-panoptic json with PNGs, label maps, or a COCO-instances json. A zip
    stands for the folder it holds, and a path may lead through one.
    """

    images: str = _path("Folder or zip of training images.")
    annotations: str = _path("Json of the training images (panoptic: its PNG folder lies beside it).")
    labels: str = _path("Folder or zip of the training images' label maps (semantic).")
    listing: str = _path("Text file that names the training images, one a line (semantic); empty: all.")
    val_images: str = _path("Validation images; empty: the val2017 sibling, else the training set.")
    val_annotations: str = _path("Their json; empty: the val2017 sibling.")
    val_labels: str = _path("Their label maps; empty: the val2017 sibling, else those of training.")
    val_listing: str = _path("Text file that names the validation images; empty: all.")
    vocabulary: str = _name_or_path("coco_panoptic", "Shipped vocabulary or path of one's own (.toml, .json).")
    unseen: tuple[str, ...] = _setting((), "Names of the unseen categories; empty: the vocabulary's own split.")
    ignored: tuple[int, ...] = _setting((0, 255), "Values of label maps that mean nothing, unless they are categories.")
    protocol: Protocol = _setting(
        "zps", "zps drops training images with unseen pixels; zss keeps them and ignores those pixels."
    )
    micrococo: MicrococoSettings = MicrococoSettings()

    @property
    def names_validation_set(self) -> bool:
        """Whether a validation set is given, even if it is the training set."""
        return bool(self.val_images or self.val_annotations or self.val_labels or self.val_listing)


class InputSettings(Settings):
    """Size and augmentation of the extractor's input."""

    crop: int = _setting(1024, "Side of the square training crop (px); images are padded to it.", ge=32)
    min_scale: float = _setting(0.1, "Smallest scale of large-scale jitter, relative to the crop.", gt=0)
    max_scale: float = _setting(2.0, "Largest scale of large-scale jitter, relative to the crop.", gt=0)
    flip: float = _setting(0.5, "Probability of a horizontal flip.", ge=0, le=1)
    quarter_turns: bool = _setting(False, "Turn by a random multiple of 90 degrees (for worlds without an up).")
    test_short: int = _setting(800, "Shorter side of an image at inference (px).", ge=32)
    test_long: int = _setting(1333, "Longest side of an image at inference (px).", ge=32)


class ClipSettings(Settings):
    """The vision-language model that the extractor is aligned with."""

    model: str = _name_or_path(
        "ViT-B-16-quickgelu", "open_clip model name, `micrococo`, or path of a model config (.json)."
    )
    pretrained: str = _name_or_path(
        "openai", "open_clip weights tag, path of weights, `random` (untrained), or empty for `micrococo`."
    )
    precision: Literal["fp32", "fp16", "bf16"] = _setting("fp32", "Precision of the image tower.")
    prompts: str = _setting("select_8", "Prompt set: single, scene, select_8, imagenet_80 or micrococo.")
    masked: Literal["full", "crop"] = _setting("full", "A masked image: the full frame or the segment's box.")
    fill: Literal["black", "mean"] = _setting("black", "What surrounds a segment: black or CLIP's mean colour.")
    flipped_view: bool = _setting(False, "Cache the tokens of flipped images too, for samples that training flips.")
    text_embeddings: str = _path("Given text embeddings (.npy, one row a name) in place of a text encoder.")
    text_names: str = _path("Names of those rows (.txt, a name a line, or a .json vocabulary).")
    batch_size: int = _cosmetic(32, "Images a forward pass of CLIP (images).", ge=1)


class SegmentorSettings(Settings):
    """The extractor, without its classifier."""

    kind: Literal["mask2former", "maskformer"] = _setting("mask2former", "Architecture.")
    backbone: str = _setting("resnet50", "timm name of the backbone.")
    backbone_weights: str = _name_or_path(
        "imagenet", "imagenet (timm's ImageNet-1k classifier), micrococo (seen-only, shipped), none, or a path."
    )
    hidden_dim: int = _setting(256, "Width D of queries and pixel features.", ge=8)
    feedforward_dim: int = _setting(2048, "Width of the decoder's feed-forward layers.", ge=8)
    encoder_feedforward_dim: int = _setting(1024, "Width of the pixel decoder's feed-forward layers.", ge=8)
    queries: int = _setting(100, "Number K of queries.", ge=1)
    encoder_layers: int = _setting(6, "Layers of the pixel decoder.", ge=1)
    decoder_layers: int = _setting(9, "Layers of the transformer decoder.", ge=1)
    heads: int = _setting(8, "Attention heads.", ge=1)
    dropout: float = _setting(0.0, "Dropout.", ge=0, lt=1)


class ClassifierSettings(Settings):
    """Projector and text classifier (eq. 1)."""

    hidden_dim: int = _setting(512, "Hidden width of the semantic projector.", ge=1)
    activation: Literal["relu", "gelu"] = _setting("relu", "Activation between the projector's two linear layers.")
    logit_scale: float = _setting(10.0, "Scale of the cosine logits at the start.", gt=0)
    logit_bias: float = _setting(-4.0, "Bias of the logits at the start (the focal prior).")
    learn_scale: bool = _setting(True, "Learn scale and bias.")


class OptimiserSettings(Settings):
    """AdamW and its schedule."""

    learning_rate: float = _setting(1e-4, "Learning rate.", gt=0)
    backbone_factor: float = _setting(0.1, "Factor on the learning rate for the backbone.", ge=0)
    weight_decay: float = _setting(0.05, "Weight decay of matrices (norms and biases have none).", ge=0)
    clip_norm: float = _setting(0.01, "Largest norm of the gradient; 0: no clipping.", ge=0)
    schedule: Literal["steps", "one-cycle", "constant"] = _setting(
        "steps", "steps (×0.1 at 90 % and 95 %), one-cycle (8 % warm-up, then cosine) or constant."
    )


class MatchingSettings(Settings):
    """Matching and its loss (eqs. 2, 3)."""

    classification: Literal["focal", "softmax"] = _setting("focal", "Classification loss.")
    class_weight: float = _setting(2.0, "Weight of the classification loss.", ge=0)
    mask_weight: float = _setting(5.0, "Weight of the mask's binary cross entropy.", ge=0)
    dice_weight: float = _setting(5.0, "Weight of the mask's dice loss.", ge=0)
    focal_alpha: float = _setting(0.25, "Focal α, the weight of positives; negative: none.", le=1)
    focal_gamma: float = _setting(2.0, "Focal exponent.", ge=0)
    no_object_weight: float = _setting(0.1, "Weight of ∅ in the softmax variant.", ge=0)
    points: int = _setting(12544, "Points at which masks are compared.", ge=1)
    oversample: float = _setting(3.0, "Candidates drawn for each importance-sampled point.", ge=1)
    importance: float = _setting(0.75, "Share of points sampled where the mask is uncertain.", ge=0, le=1)


class CgaSettings(Settings):
    """Conditional global alignment (eqs. 4 to 6)."""

    weight: float = _setting(1.0, "λ_g; 0 switches CGA off.", ge=0)
    gamma: float = _setting(2.0, "γ, enhancement of matched queries; 0: unconditional (G of table 3).", ge=0)
    enhancement: Literal["multiply", "plus", "minus"] = _setting("multiply", "How γ enters (supplement table 8).")
    temperature: float = _setting(0.07, "τ.", gt=0)
    bank_size: int = _setting(32, "CLS tokens kept from earlier batches (tokens).", ge=0)


class CiaSettings(Settings):
    """Conditional instance alignment (eq. 8)."""

    weight: float = _setting(1.0, "λ_c; 0 switches CIA off.", ge=0)
    temperature: float = _setting(0.07, "τ.", gt=0)
    negatives: Literal["image", "batch"] = _setting(
        "image", "Segments contrasted with: those of the image (of the batch, where it has only one) or of the batch."
    )


class ConSettings(Settings):
    """train-con: extractor and projector."""

    iterations: int = _setting(140350, "Optimisation steps.", ge=1)
    batch_size: int = _setting(16, "Images a step (images).", ge=1)
    segmentor: SegmentorSettings = SegmentorSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    input: InputSettings = InputSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    matching: MatchingSettings = MatchingSettings()
    cga: CgaSettings = CgaSettings()
    cia: CiaSettings = CiaSettings()
    checkpoint_every: int = _cosmetic(500, "Steps between checkpoints (steps).", ge=1)
    log_every: int = _cosmetic(20, "Steps between lines of metrics.jsonl (steps).", ge=1)
    panels: int = _cosmetic(4, "Training images drawn for TensorBoard at ten checkpoints; 0: none (images).", ge=0)


class DumpSettings(Settings):
    """dump-queries: all K queries of every training image, with assigned labels."""

    views: tuple[Literal["plain", "flipped"], ...] = _setting(("plain",), "Views dumped of each image.")
    shard: int = _setting(4096, "Rows a shard (images × views).", ge=1)
    batch_size: int = _cosmetic(8, "Images a forward pass (images).", ge=1)


class CatSettings(Settings):
    """train-cat: the generator (eqs. 10 to 12)."""

    generator: Literal["cvae", "gmmn"] = _setting("cvae", "Generator.")
    iterations: int = _setting(36875, "Optimisation steps.", ge=1)
    batch_images: int = _setting(16, "Images a step, whose matched queries form the batch (images).", ge=1)
    hidden_dim: int = _setting(1024, "Width of encoder and decoder.", ge=8)
    latent_dim: int = _setting(0, "Width of the latent Z; 0: that of the text embeddings.", ge=0)
    condition_scale: float = _setting(1.0, "Scale of the condition added to the latent; 0: √C.", ge=0)
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=1e-3, schedule="constant", clip_norm=0.0)
    mmd_weight: float = _setting(1.0, "Weight of MMD (eq. 10).", ge=0)
    kl_weight: float = _setting(1.0, "Weight of KL.", ge=0)
    query_contrast: bool = _setting(True, "Use the query contrast (QC, eq. 11).")
    unmatched_negatives: bool = _setting(True, "Unmatched queries V∅ are negatives too (supplement table 2).")
    contrast_weight: float = _setting(0.1, "λ_r.", ge=0)
    contrast_temperature: float = _setting(0.07, "τ_r.", gt=0)
    contrast_negatives: Literal["image", "batch"] = _setting("image", "Whose queries are contrasted.")
    semantic_supervision: bool = _setting(True, "Use the vision-to-semantic focal loss (Sup).")
    supervision_weight: float = _setting(0.01, "λ_f.", ge=0)
    checkpoint_every: int = _cosmetic(1000, "Steps between checkpoints (steps).", ge=1)
    log_every: int = _cosmetic(50, "Steps between lines of metrics.jsonl (steps).", ge=1)


class FinetuneSettings(Settings):
    """finetune: the projector on real seen and pseudo unseen queries (eq. 13)."""

    unseen: bool = _setting(True, "Teach the data set's unseen names; false, and nothing taught: an inductive run.")
    taught: tuple[str, ...] = _setting((), "Names taught besides, as `concat teach` takes them: 'tram; streetcar'.")
    iterations: int = _setting(36875, "Optimisation steps.", ge=1)
    batch_images: int = _setting(16, "Images a step (images).", ge=1)
    optimiser: OptimiserSettings = OptimiserSettings(learning_rate=1e-5, schedule="constant", clip_norm=0.0)
    pseudo_unseen: int = _setting(150, "U, pseudo unseen queries a step (supplement table 5).", ge=1)
    pseudo_seen: int = _setting(0, "Pseudo seen queries a step (supplement table 4).", ge=0)
    pseudo_weight: float = _setting(1.0, "Weight of the pseudo term.", ge=0)
    real_focal: bool = _setting(True, "Keep the focal loss on real seen queries (Fcls).")
    real_targets: Literal["seen", "all"] = _setting("seen", "Names that real seen queries are classified among.")
    keep_every: int = _setting(1000, "Steps between kept iterates (steps).", ge=1)
    log_every: int = _cosmetic(50, "Steps between lines of metrics.jsonl (steps).", ge=1)


class EvalSettings(Settings):
    """eval: predictions and their scores."""

    score_threshold: float = _setting(0.1, "Queries scored lower are dropped.", ge=0, le=1)
    overlap_threshold: float = _setting(0.8, "Share of its mask that a segment has to keep.", ge=0, le=1)
    mask_threshold: float = _setting(0.5, "Mask probability that counts as inside.", ge=0, le=1)
    increment: float = _setting(1.0, "Added to unseen logits in the inductive setting (supplement table 6).")
    sweep: tuple[float, ...] = _setting((0.0, 0.5, 1.0, 1.5, 2.0), "Increments scored besides.")
    novel_only: bool = _setting(True, "Score unseen names among themselves too, besides all names together.")
    instances: int = _setting(100, "Instances predicted in an image, the best scored.", ge=1)
    panels: int = _setting(8, "Images on the page of qualitative panels (images).", ge=0)
    batch_size: int = _cosmetic(1, "Images a forward pass (images).", ge=1)


class RuntimeSettings(Settings):
    """How a run is executed."""

    device: str = _setting("auto", "auto, cpu, cuda or cuda:N.")
    precision: Literal["32-true", "bf16-mixed"] = _setting("32-true", "lightning-fabric precision.")
    threads: int = _cosmetic(0, "CPU threads of torch; 0: one a core.", ge=0)
    workers: int = _cosmetic(0, "Loader processes.", ge=0)
    cache: str = Field(
        "",
        description="Where CLIP stores, query dumps and rendered scenes are kept, as last given; empty: ./cache.",
        json_schema_extra={"cosmetic": True, "path": "always"},
    )


class Recipe(Settings):
    """All settings of a run."""

    name: str = _cosmetic("custom", "Name of the recipe.")
    seed: int = _setting(0, "Seed of everything random but the data.", ge=0)
    task: Task = _setting("panoptic", "What is predicted and scored: panoptic, semantic or instance.")
    data: DataSettings = DataSettings()
    clip: ClipSettings = ClipSettings()
    con: ConSettings = ConSettings()
    dump: DumpSettings = DumpSettings()
    cat: CatSettings = CatSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    eval: EvalSettings = EvalSettings()
    runtime: RuntimeSettings = RuntimeSettings()


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or one's own TOML file, with `key=value` overrides.

    Raises:
        ConcatError: no such recipe, an unknown setting, or a value that does not fit.
    """
    path = Path(name_or_path)
    if not path.suffix:
        path = SHIPPED / f"{name_or_path}.toml"
    return _checked(_read(path), overrides, path)


def override(recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
    """`recipe` with `key=value` settings changed, checked anew."""
    return _checked(recipe.model_dump(), overrides, None)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Writes the resolved recipe as TOML, unless the file says the same already."""
    if not path.exists() or load_recipe(str(path)) != recipe:
        write_text(path, tomli_w.dumps(recipe.model_dump(mode="json")))


def _read(path: Path) -> dict[str, Any]:
    """The values of a TOML file, laid over those of the shipped recipe it `extends`, if it does."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        base = values.pop("extends", None)
        return _merged(_read(SHIPPED / f"{base}.toml"), values) if base else values
    except OSError:
        raise ConcatError(
            "Recipe not found.", file=path, mend=f"Shipped ones: {', '.join(shipped_recipes())}."
        ) from None
    except ValueError as error:
        raise ConcatError(f"Not a TOML file: {error}.", file=path) from None


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _checked(values: dict[str, Any], overrides: tuple[str, ...], path: Path | None) -> Recipe:
    for assignment in overrides:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConcatError(
                f"--set wants key=value, not {assignment!r}.", mend="For example --set con.iterations=100."
            )
        *sections, last = key.strip().split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConcatError(f"Unknown setting {key!r}.", mend="The --help of each stage lists its settings.")
        target[last] = _parse(text.strip())
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"Unknown setting {key!r}" if first["type"] == "extra_forbidden" else f"Setting {key}: {first['msg']}"
        raise ConcatError(f"{what}.", file=path, mend="The --help of each stage lists its settings.") from None


def _parse(text: str) -> Any:
    """A TOML value if it is one, else the bare word."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text
