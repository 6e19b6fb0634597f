"""HOW, where azure-native has no resource: thin dynamic resources over azure-ai-ml.

Module paths and class names of the providers are part of every stack's state: do not rename them.
"""
