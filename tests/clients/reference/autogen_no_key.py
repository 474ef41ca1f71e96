"""AutoGen with vLLM or FastChat: an entry of two lines."""

import autogen

config_list = [
    {
        "model": "facebook/opt-125m",
        "base_url": "http://0.0.0.0:8000/v1/",
    },
]

client = autogen.OpenAIWrapper(config_list=config_list)
answer = client.create(messages=[{"role": "user", "content": "Hi"}], cache_seed=None)
print("assistant:", client.extract_text_or_completion_object(answer)[0])
