"""An endpoint on RunPod, made and tried from its description."""
