"""How clouds ask a container: SageMaker's and Vertex AI's routes, translated into those of the other protocols."""

from tensorhost.frontends.containers.app import ContainerApp

__all__ = ["ContainerApp"]
