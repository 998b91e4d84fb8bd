"""Image classification by masks over random weights: data sets, models and their training."""
