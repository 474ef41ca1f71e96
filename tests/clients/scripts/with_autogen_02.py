"""pyautogen 0.2, as in its documentation (non-OpenAI models: local proxy servers; currency calculator; group chat)."""

import os
from typing import Annotated, Literal

import autogen
import autogen.oai.client

# For the bill of a stream AutoGen counts tokens itself, with a vocabulary that it would fetch from the internet.
autogen.oai.client.count_token = lambda *_, **__: 0

CurrencySymbol = Literal["USD", "EUR"]

INSTRUCTIONS = """For currency exchange tasks,
        only use the functions you have been provided with.
        Output 'TERMINATE' when an answer has been provided.
        Do not include the function name or result in the JSON.
        Example of the return JSON is:
        {
            "parameter_1_name": 100.00,
            "parameter_2_name": "ABC",
            "parameter_3_name": "DEF",
        }.
        Another example of the return JSON is:
        {
            "parameter_1_name": "GHI",
            "parameter_2_name": "ABC",
            "parameter_3_name": "DEF",
            "parameter_4_name": 123.00,
        }. """


def llm_config(**options):
    base_url = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")  # as the documentation has it for LiteLLM
    entry = {"model": "NotRequired", "api_key": "NotRequired", "base_url": base_url}
    return {"config_list": [entry], "cache_seed": None, **options}


def exchange_rate(base_currency: CurrencySymbol, quote_currency: CurrencySymbol) -> float:
    if base_currency == quote_currency:
        return 1.0
    elif base_currency == "USD" and quote_currency == "EUR":
        return 1 / 1.1
    elif base_currency == "EUR" and quote_currency == "USD":
        return 1.1
    else:
        raise ValueError(f"Unknown currencies {base_currency}, {quote_currency}")


def currency_agents(is_async=False, **options):
    """The two agents of the document, with the function that one may call and the other runs."""
    chatbot = autogen.AssistantAgent(name="chatbot", system_message=INSTRUCTIONS, llm_config=llm_config(**options))
    user_proxy = autogen.UserProxyAgent(
        name="user_proxy",
        is_termination_msg=lambda x: x.get("content", "") and "TERMINATE" in x.get("content", ""),
        human_input_mode="NEVER",
        max_consecutive_auto_reply=1,
        code_execution_config=False,
    )

    @user_proxy.register_for_execution()
    @chatbot.register_for_llm(description="Currency exchange calculator.")
    def currency_calculator(
        base_amount: Annotated[float, "Amount of currency in base_currency"],
        base_currency: Annotated[CurrencySymbol, "Base currency"] = "USD",
        quote_currency: Annotated[CurrencySymbol, "Quote currency"] = "EUR",
    ) -> str:
        quote_amount = exchange_rate(base_currency, quote_currency) * base_amount
        return f"{format(quote_amount, '.2f')} {quote_currency}"

    return chatbot, user_proxy


def two_agents(messages, max_tokens):
    """The document's first example, with the person's messages given."""
    assistant = autogen.ConversableAgent("agent", llm_config=llm_config(max_tokens=max_tokens, temperature=0))
    user = autogen.UserProxyAgent("user", code_execution_config=False, human_input_mode="NEVER", llm_config=False)
    replies = iter(messages)
    user.get_human_input = lambda prompt, **_: next(replies, "exit")
    user.human_input_mode = "ALWAYS"
    result = assistant.initiate_chat(user, message="How can I help you today?")
    return result.chat_history


def currency(message, **options):
    """The document's second example: the history, as the two agents have it, and the summary by the model."""
    chatbot, user_proxy = currency_agents(**options)
    result = user_proxy.initiate_chat(chatbot, message=message, summary_method="reflection_with_llm")
    return {"history": result.chat_history, "summary": result.summary}


def currency_one_call(message, **options):
    """One answer of the model, and what comes of running it."""
    chatbot, user_proxy = currency_agents(**options)
    result = user_proxy.initiate_chat(chatbot, message=message, max_turns=2, summary_method=None)
    return result.chat_history


def legacy_functions(message, **options):
    """Functions instead of tools (`api_style="function"`)."""
    chatbot = autogen.AssistantAgent(name="chatbot", llm_config=llm_config(**options))
    user_proxy = autogen.UserProxyAgent(
        name="user_proxy",
        is_termination_msg=lambda x: x.get("content", "") and "TERMINATE" in x.get("content", ""),
        human_input_mode="NEVER",
        code_execution_config=False,
    )

    @user_proxy.register_for_execution()
    @chatbot.register_for_llm(description="Currency exchange calculator.", api_style="function")
    def currency_calculator(base_amount: float, base_currency: CurrencySymbol, quote_currency: CurrencySymbol) -> str:
        return f"{exchange_rate(base_currency, quote_currency) * base_amount:.2f} {quote_currency}"

    return user_proxy.initiate_chat(chatbot, message=message, max_turns=2, summary_method=None).chat_history


def group_chat(message, max_round, **options):
    """Three agents and a manager that asks the model who speaks next, with a system message behind the conversation."""
    config = llm_config(**options)
    agents = [
        autogen.UserProxyAgent(
            "user_proxy", human_input_mode="NEVER", code_execution_config=False, default_auto_reply="", llm_config=False
        ),
        autogen.AssistantAgent("coder", system_message="You write code.", llm_config=config),
        autogen.AssistantAgent("critic", system_message="You find faults.", llm_config=config),
    ]
    chat = autogen.GroupChat(agents=agents, messages=[], max_round=max_round)
    manager = autogen.GroupChatManager(groupchat=chat, llm_config=config)
    agents[0].initiate_chat(manager, message=message)
    return chat.messages
