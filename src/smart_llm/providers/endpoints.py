"""Who is where: the providers known by name. A new one that speaks a known dialect is one line here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A provider with an address. prices: its name in the genai-prices data.

    dialect: the module that speaks to it. key_header: where its key goes, if not where the dialect puts it. url_env:
    the variable that names the host, to which `url` is then the path.
    """

    url: str
    key_env: str
    prices: str
    dialect: str = "openai"
    key_header: str | None = None
    url_env: str | None = None


ENDPOINTS = {
    "openai": Endpoint("https://api.openai.com/v1", "OPENAI_API_KEY", "openai"),
    "anthropic": Endpoint("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "anthropic", "anthropic"),
    "gemini": Endpoint("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", "google"),
    "azure": Endpoint(
        "/openai/v1", "AZURE_OPENAI_API_KEY", "azure", key_header="api-key", url_env="AZURE_OPENAI_ENDPOINT"
    ),
    "groq": Endpoint("https://api.groq.com/openai/v1", "GROQ_API_KEY", "groq"),
    "mistral": Endpoint("https://api.mistral.ai/v1", "MISTRAL_API_KEY", "mistral"),
    "together": Endpoint("https://api.together.ai/v1", "TOGETHER_API_KEY", "together"),
    "deepseek": Endpoint("https://api.deepseek.com", "DEEPSEEK_API_KEY", "deepseek"),
    "openrouter": Endpoint("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openrouter"),
}
DIALECTS = {
    "openai": "smart_llm.providers.openai:OpenAIProvider",
    "anthropic": "smart_llm.providers.anthropic:AnthropicProvider",
}
"""What speaks to an address."""
IN_PROCESS = {
    "local": "smart_llm.providers.local.provider:LocalProvider",
    "fake": "smart_llm.providers.fake:stand_in",
    "anyllm": "smart_llm.providers.anyllm:AnyLLMProvider",
    "learned": "smart_llm.providers.taught:Taught",
    "function": "smart_llm.providers.functions:Functions",
}
"""Providers without an address of ours: what makes one from a model's own name (of `WHOLE`: from the model)."""
WHOLE = ("anyllm", "function", "learned")
"""Those that are made from all that is known of a model."""
