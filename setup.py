"""Metadata of the package; the tools' settings are in pyproject.toml."""

from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup

# A ticket brings a model of it, and a model made for that corrupts the memory of earlier releases (CVE-2026-1260).
SENTENCEPIECE = "sentencepiece>=0.2.2"
FAIRSEQ = [
    # The official release stops at Python 3.10, and knows neither numpy 1.24 nor what came after.
    'fairseq==0.12.2; python_version < "3.11"',
    've-fairseq==0.12.3; python_version >= "3.11"',
    'numpy<1.24; python_version < "3.11"',
    "sacrebleu",
    SENTENCEPIECE,
    "tensorboardX",
]
TRANSLATE = ["ctranslate2", SENTENCEPIECE]
DATA = ["babel", "gensim", "mosestokenizer", "num2words", SENTENCEPIECE, "subword-nmt"]
PLOTS = ["jinja2", "matplotlib"]
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
DOCS = ["mkdocs-material", "mkdocstrings[python]"]
HERE = Path(__file__).parent

setup(
    name="one_layer_lt",
    version=run_path(str(HERE / "one_layer_lt" / "version.py"))["__version__"],
    description="One-layer lottery tickets: networks of random weights reused by every layer, trained by masks alone",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords="lottery tickets, supermasks, random weights, pruning, model compression, machine translation, fairseq",
    author="The one_layer_lt authors",
    license="MIT",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(9, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.9,<3.13",
    package_dir={"": "."},  # so that an editable install finds scripts/ too
    packages=find_packages(include=["one_layer_lt*", "fairseq_plugins*", "data_prep*"]),
    include_package_data=True,
    package_data={
        "one_layer_lt": ["tickets/*"],
        "one_layer_lt.report": ["*.html"],
        "one_layer_lt.web": ["*.css", "*.html", "*.js"],
    },
    install_requires=[
        "numpy",
        "rich",
        "safetensors",
        "tomli; python_version < '3.11'",
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
        "docs": DOCS,
        "all": FAIRSEQ + TRANSLATE + DATA + VISION + PLOTS,
    },
    entry_points={"console_scripts": ["one-layer-lt = one_layer_lt.cli:main"]},
)
