"""Text Generation Inference's routes and the hosted inference API's."""
