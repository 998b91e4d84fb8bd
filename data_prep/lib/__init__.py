"""What the recipes share. `pipeline.prepare` turns raw parallel text into one self-contained fairseq data folder."""
