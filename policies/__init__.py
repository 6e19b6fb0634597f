"""The policy pack: what each stack's resources must keep to, as plain functions over their properties.

The rules know neither Pulumi nor Azure; `__main__` tells them to Pulumi's engine.
"""
