"""The decode step as Triton kernels: five a layer, each beside the torch code that it replaces."""
