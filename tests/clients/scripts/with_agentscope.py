"""agentscope 0.0.1, as in its documentation (model API: openai, openai_embedding, post_api, post_api_chat)."""

import os
import tempfile

import agentscope
from agentscope.agents import DialogAgent
from agentscope.message import Msg
from agentscope.models import load_model_by_config_name

URL = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")


def load(**config):
    """A model of this config, as agentscope.init(model_configs=...) makes it known. What it writes goes elsewhere."""
    os.chdir(tempfile.mkdtemp())
    agentscope.init(model_configs=[config], save_api_invoke=False, save_code=False)
    return load_model_by_config_name(config["config_name"])


def dialog(texts, **config):
    """A DialogAgent's answers: all of its messages have the role assistant."""
    load(**config)
    agent = DialogAgent("Assistant", sys_prompt="You answer in one word.", model_config_name=config["config_name"])
    return [agent(Msg("Bob", text)).content for text in texts]


def openai_dialog(texts, **options):
    config = {"config_name": "m", "model_type": "openai", "api_key": "EMPTY", "client_args": {"base_url": f"{URL}/v1/"}}
    return dialog(texts, **{**config, **options})


def post_dialog(texts, **options):
    config = {"config_name": "m", "model_type": "post_api_chat", "api_url": f"{URL}/llm/"}
    return dialog(texts, **{**config, **options})


def post(inputs, path="/llm/", **options):
    model = load(config_name="m", model_type="post_api", api_url=URL + path, **options)
    return model(inputs).raw


def embedding(texts, **options):
    config = {"config_name": "m", "model_type": "openai_embedding", "api_key": "EMPTY"}
    model = load(**{**config, "client_args": {"base_url": f"{URL}/v1/"}, **options})
    return model(texts).embedding
