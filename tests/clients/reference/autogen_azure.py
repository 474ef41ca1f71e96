"""AutoGen with Azure's form of OpenAI's API."""

import json
import os

import autogen

# Set up your API Endpoint(Azure Openai)
config_list = [
    {
        "model": "gpt-4",
        "api_key": "<your Azure OpenAI API key here>",
        "base_url": "http://0.0.0.0:8000",
        "api_version": "2023-06-01-preview",
        "api_type": "azure",
    },
]
os.environ["OAI_CONFIG_LIST"] = json.dumps(config_list)

# Create a user agent
user = autogen.UserProxyAgent("user proxy", human_input_mode="ALWAYS")

# Create an assistant agent
assistant = autogen.AssistantAgent(
    "assistant",
    system_message="You are a friendly AI assistant.",
    llm_config={"config_list": config_list},
)

# Start the conversation
user.initiate_chat(
    assistant, message="Write a program in Python and Rust that Sort the array with Bubble Sort: [1, 5, 2, 4, 2]"
)
