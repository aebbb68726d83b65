"""Tells a harmless role from a breach: "act as a gardener" is how people use an assistant every day.

A text that hands out a role and has no word of rules to drop, of harm or of secrets counts for less in L2.
"""

from __future__ import annotations

import re

NAME, FACTOR = "a role and no breach", 0.12
"""What the discount is called, and how much of a confidence it leaves."""


def is_harmless_role(text: str) -> bool:
    """Whether the text, in small letters, gives a role and names nothing that a role is abused for."""
    return _ROLE.search(text) is not None and _BREACH.search(text) is None


_ROLE = re.compile(
    r"\b(?:act|behave|respond|serve|speak|write) (?:\w+ )?(?:as|like) (?:if |though )?\w|"
    r"\b(?:pretend|imagine|suppose|assume|picture yourself|role-?play|simulate|play the)\b|"
    r"\byou(?:'re| are| will be| are now| are going to be) (?:\w+ )?(?:a|an|the|my|our|now|\$?[\[{\"<])|"
    r"\b(?:i want|i'd like|i need|i require|we need) (?:you|someone|somebody|a|an)\b|"
    r"^(?:need|looking for|seeking|searching for|calling|as an?|wanted)\b|"
    r"\b(?:your (?:role|task|job|persona|character)|first (?:request|question|task|sentence|command))\b|"
    r"\b(?:du bist|sei|verhalte dich|actúa como|eres|quiero que|tu es|agis comme|je veux que|sei un|"
    r"agisci come|aja como|você é|je bent|ты|представь|jesteś)\b|"
    r"你是|扮演|充当|あなたは|演じて|너는|당신은|أنت|आप एक"
)
_BREACH = re.compile(
    # rules to drop
    r"\b(?:restrict\w*|unrestricted|filter\w*|unfiltered|censor\w*|uncensored|ignor\w*|disregard\w*|forget|"
    r"(?:content|usage|safety|openai'?s?|company|your|its|any|all|no|without|these|following) (?:\w+ )?"
    r"(?:polic(?:y|ies)|guidelines?|rules?|limits?|limitations?)|bypass\w*|overrid\w*|unlock\w*|jailbr\w*|dan|"
    r"developer mode|openai|refus\w*|warnings?|disclaimers?|apolog\w*|(?<!feel )freed?|"
    r"(?:do|say|tell|answer|generate|create|me) anything(?! else)|anything (?:i|you|now|goes|asked)|"
    r"freedom|no matter|"
    r"never (?:say|refuse|break|reject)|ethic\w*|unethical|moral\w*|amoral|previous instructions|"
    r"system prompt|"
    # secrets and reach
    r"passwords?|secrets?|confidential|credentials?|token|sudo|root|exfil\w*|send|"
    r"(?<!looking )forward (?:all|any|copies|each|every|her|his|it|mails?|me|my|that|the|their|them|these|"
    r"this|to|us|your)|delete|transfer|"
    r"reveal\w*|hidden|leak\w*|verbatim|your (?:\w+ )?(?:instructions?|prompt|configuration)|"
    # harm
    r"illegal\w*|unlawful\w*|crim\w*|hack\w*|weapons?|bomb\w*|explosiv\w*|drugs?|meth|kill\w*|murder\w*|malware|"
    r"virus\w*|ransom\w*|phish\w*|steal\w*|fraud\w*|launder\w*|scam\w*|exploit\w*|hat(?:e|eful|red)|racis\w*|"
    r"sexis\w*|sexual\w*|porn\w*|poison\w*|suicid\w*|self-harm|terror\w*|violen\w*|harm(?!on)\w*|danger\w*|abus\w*|"
    r"defam\w*|discriminat\w*|evil|villain\w*|attack\w*|threat\w*|blackmail\w*|extort\w*|stalk\w*|spy\w*|fake|"
    r"deceiv\w*|manipulat\w*|misinform\w*|disinform\w*|conspir\w*|propaganda|cheat\w*|counterfeit\w*|"
    r"forg(?:e|ed|ery)|smuggl\w*|traffick\w*|torture|lie|insider|evade|undetect\w*|bias\w*|stereotyp\w*|"
    r"bully\w*|harass\w*|insult\w*|genocid\w*|nazi\w*|cannibal\w*|knife|guns?|firearm\w*|nuclear|cocaine|heroin|lsd)\b|"
    # the same in other languages, by their roots
    r"\b(?:ignorier|vergiss|regeln|geheim|passwort|illegal|ignora|olvida|reglas|contraseña|oublie|règles|secret|"
    r"dimentica|regole|segret|esque[çc]|regras|senha|negeer|vergeet|geheim)\w*|"
    r"игнорир|забудь|правил|секрет|парол|zignoruj|zapomnij|忽略|忘记|规则|密码|秘密|無視|忘れ|ルール|パスワード|무시|"
    r"규칙|비밀|تجاهل|القواعد|नियम|अनदेखा|पासवर्ड"
)
