"""Which keys a file of models may name. Such a file often comes from somebody else, and whoever wrote it decides where
the key goes, so it may name a variable that was made for the servers in it, and no other service's.

What the user writes on the command line (`?key_env=NAME`) is the user's own decision and is not looked at here.
"""

from __future__ import annotations

import re

_KEY = re.compile(r"[A-Z][A-Z0-9_]*_(?:API_KEY|TOKEN)")
_SERVICES = frozenset(
    """
    AI21 AIRTABLE ALGOLIA ALIBABA ANTHROPIC ANYSCALE ARTIFACTORY ASANA ATLASSIAN AUTH0 AWS AZURE BASETEN
    BITBUCKET BUILDKITE CARGO CEREBRAS CI CIRCLE CIRCLECI CLOUDFLARE CODECOV COHERE CONFLUENCE CONSUL DASHSCOPE
    DATABRICKS DATADOG DD DEEPGRAM DEEPINFRA DEEPSEEK DIGITALOCEAN DISCORD DOCKER DOCKERHUB ELASTIC ELEVENLABS
    EXA FIREBASE FIREWORKS FLY GCP GEMINI GH GITEA GITHUB GITLAB GOOGLE GRAFANA GROQ HEROKU HF HUBSPOT
    HUGGINGFACE HUGGINGFACEHUB HUGGING IBM JFROG JIRA KAGGLE KUBE KUBERNETES LANGCHAIN LANGFUSE LANGSMITH
    LINEAR LITELLM MAILCHIMP MAILGUN MAPBOX MINIMAX MISTRAL MONGODB MOONSHOT NEPTUNE NETLIFY NODE NOMAD NOTION
    NOVITA NPM NVIDIA OKTA OPENAI OPENROUTER PAGERDUTY PERPLEXITY PINECONE POSTHOG PULUMI PYPI QDRANT QUAY
    REPLICATE RUBYGEMS RUNPOD SAMBANOVA SEGMENT SENDGRID SENTRY SERPAPI SHOPIFY SLACK SNOWFLAKE SNYK SONAR
    SQUARE STABILITY STRIPE SUPABASE TAVILY TELEGRAM TERRAFORM TF TODOIST TOGETHER TRAVIS TWILIO TWINE TWITTER
    UPSTASH VAULT VERCEL VOYAGE WANDB WATSONX WEAVIATE X XAI ZENDESK ZHIPU ZOOM
    """.split()  # noqa: SIM905  as a list it has a hundred and thirty lines
)
"""The first words of variables that are known to hold the key of a service."""


_DOMAINS = {
    "AI21": "ai21.com", "ALIBABA": "aliyuncs.com", "ANTHROPIC": "anthropic.com", "ANYSCALE": "anyscale.com",
    "AZURE": "azure.com", "BASETEN": "baseten.co", "CEREBRAS": "cerebras.ai", "CLOUDFLARE": "cloudflare.com",
    "COHERE": "cohere.com cohere.ai", "DASHSCOPE": "aliyuncs.com", "DATABRICKS": "databricks.com azuredatabricks.net",
    "DEEPINFRA": "deepinfra.com", "DEEPSEEK": "deepseek.com", "FIREWORKS": "fireworks.ai", "GEMINI": "googleapis.com",
    "GITHUB": "github.com github.ai",
    "GOOGLE": "googleapis.com", "GROQ": "groq.com", "HF": "huggingface.co", "HUGGINGFACE": "huggingface.co",
    "MINIMAX": "minimax.io minimaxi.com minimax.chat", "MISTRAL": "mistral.ai", "MOONSHOT": "moonshot.ai moonshot.cn",
    "NOVITA": "novita.ai", "NVIDIA": "nvidia.com", "OPENAI": "openai.com", "OPENROUTER": "openrouter.ai",
    "PERPLEXITY": "perplexity.ai", "REPLICATE": "replicate.com", "RUNPOD": "runpod.ai runpod.net",
    "SAMBANOVA": "sambanova.ai", "TOGETHER": "together.xyz together.ai", "X": "x.ai", "XAI": "x.ai",
    "ZHIPU": "bigmodel.cn",
}  # fmt: skip
"""Where the services that serve models are. Anybody may own a host that has a service's name in it."""


def refusal(variable: str, host: str) -> str | None:
    """Why a file of models may not have this variable's value sent to this host; None where it may."""
    if not _KEY.fullmatch(variable):
        return "a file of models may only name variables that end in _API_KEY or _TOKEN"
    service = variable.split("_", 1)[0]
    domains = _DOMAINS.get(service, "").split()
    if service in _SERVICES and not any(f".{host.lower()}".endswith(f".{domain}") for domain in domains):
        return f"a file of models may not send a key of another service ({service}) to {host or 'this model'}"
    return None
