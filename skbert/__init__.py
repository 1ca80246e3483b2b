"""A frozen BERT behind scikit-learn's fit, transform and predict."""
