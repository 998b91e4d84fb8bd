"""Metadata of the package; the tools' settings are in pyproject.toml."""

from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup

FAIRSEQ = [
    # The official release stops at Python 3.10, and knows neither numpy 1.24 nor what came after.
    'fairseq==0.12.2; python_version < "3.11"',
    've-fairseq==0.12.3; python_version >= "3.11"',
    'numpy<1.24; python_version < "3.11"',
    "sacrebleu",
    "sentencepiece",
    "tensorboardX",
]
TRANSLATE = ["ctranslate2", "sentencepiece"]
DATA = ["babel", "gensim", "mosestokenizer", "num2words", "sentencepiece", "subword-nmt"]
PLOTS = ["jinja2", "matplotlib", "tomli; python_version < '3.11'"]
VISION = ["pillow>=9.1", "scikit-learn", "tensorboardX"]
TRITON = "triton; platform_system == 'Linux' and platform_machine == 'x86_64'"
TEST = [
    "hypothesis",
    "import-linter",
    "mypy",
    "pytest",
    "mktestdocs",
    "playwright",
    "pytest-xdist",
    "ruff",
    TRITON,
]

setup(
    name="one_layer_lt",
    version=run_path(str(Path(__file__).parent / "one_layer_lt" / "version.py"))["__version__"],
    description="One-layer lottery tickets: networks of random weights reused by every layer, trained by masks alone",
    license="MIT",
    python_requires=">=3.9,<3.13",
    package_dir={"": "."},  # so that an editable install finds scripts/ too
    packages=find_packages(include=["one_layer_lt*", "fairseq_plugins*", "data_prep*"]),
    include_package_data=True,
    package_data={"one_layer_lt.report": ["*.html"], "one_layer_lt.web": ["*.css", "*.html", "*.js"]},
    install_requires=[
        "numpy",
        "rich",
        "safetensors",
        # 2.6 is the first to load checkpoints without running what is in them.
        "torch>=2.6",
    ],
    extras_require={
        "fairseq": FAIRSEQ,
        "translate": TRANSLATE,
        "data": DATA,
        "vision": VISION,
        "plots": PLOTS,
        "test": TEST,
        "all": FAIRSEQ + TRANSLATE + DATA + VISION + PLOTS + TEST,
    },
    entry_points={"console_scripts": ["one-layer-lt = one_layer_lt.cli:main"]},
)
