"""Every setting of the portal, read from the environment; README.md has the table, portal/checks.py judges them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import django_stubs_ext
from csp.constants import NONCE

from portal.environment import BASE_DIR, program, read_environment
from portal.logs import log_settings

# Django's generic classes take their type arguments at run time too.
django_stubs_ext.monkeypatch()

env = read_environment()

DEBUG = env.bool("DEBUG", default=False)
PORTAL_DATA_DIR = Path(env.str("PORTAL_DATA_DIR", default=str(BASE_DIR / "var")))
SECRET_KEY = env.str("SECRET_KEY", default="")
PORTAL_ENCRYPTION_KEYS = env.list("PORTAL_ENCRYPTION_KEYS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# PostgreSQL and Redis. Where these are unset, `portal.services` has started the embedded ones and set them.
DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="")
named = env.database("DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **named,
        # PostgreSQL shows it beside each connection, and the audit log beside what is changed outside of a request.
        "OPTIONS": {
            "application_name": program(),
            "prepared": env.bool("PORTAL_DB_PREPARED", default=True),
            **named.get("OPTIONS", {}),
        },
        "ENGINE": "portal.database",
        "CONN_MAX_AGE": env.int("PORTAL_DB_CONN_MAX_AGE", default=60),
        "CONN_HEALTH_CHECKS": True,
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL or "redis://unset"}
}

INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "usage.apps.UsageConfig",
    "sync.apps.SyncConfig",
    "portal.apps.PortalAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "django_htmx",
    "rangefilter",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "portal.abort.AbortMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.logs.RequestLogMiddleware",
    "portal.compression.GZipMiddleware",
    # Outside the next, whose 304 keeps few of an answer's headers.
    "portal.throttling.RateLimitMiddleware",
    # Inside the compression, which answers otherwise each time, and outside all that makes the answer.
    "django.middleware.http.ConditionalGetMiddleware",
    "portal.policy.PolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.audit.context.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "portal.signing_in.adapters.frame",
            ]
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "portal.formats"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
# The portal serves its own static files from where the packages keep them; nobody has to run collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

# Signing in (portal/signing_in): with a password here, or through the OpenID provider that these name.
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"
LOGOUT_REDIRECT_URL = "account_login"
PORTAL_OIDC_ISSUER = env.str("PORTAL_OIDC_ISSUER", default="")
PORTAL_OIDC_CLIENT_ID = env.str("PORTAL_OIDC_CLIENT_ID", default="")
PORTAL_OIDC_CLIENT_SECRET = env.str("PORTAL_OIDC_CLIENT_SECRET", default="")
PORTAL_OIDC_NAME = env.str("PORTAL_OIDC_NAME", default="Single sign-on")
PORTAL_OIDC_DOMAINS = env.list("PORTAL_OIDC_DOMAINS", default=[])
PORTAL_OIDC_GROUPS_CLAIM = env.str("PORTAL_OIDC_GROUPS_CLAIM", default="")
PORTAL_OIDC_GROUPS = env.list("PORTAL_OIDC_GROUPS", default=[])
ACCOUNT_ADAPTER = "portal.signing_in.adapters.Accounts"
ACCOUNT_FORMS = {
    "change_password": "portal.signing_in.adapters.NewPassword",
    "login": "portal.signing_in.adapters.SignIn",
    "reauthenticate": "portal.signing_in.adapters.OldPassword",
    "reset_password": "portal.signing_in.adapters.ForgottenPassword",
}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # administrators make the local accounts
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Usage portal: "
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
SOCIALACCOUNT_ADAPTER = "portal.signing_in.adapters.ProviderAccounts"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True  # under the rules of that adapter
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {
    "openid_connect": {
        "provider_class": "portal.signing_in.oidc.Provider",
        "OAUTH_PKCE_ENABLED": True,
        "APPS": [
            {
                "provider_id": "sso",
                "name": PORTAL_OIDC_NAME,
                "client_id": PORTAL_OIDC_CLIENT_ID,
                "secret": PORTAL_OIDC_CLIENT_SECRET,
                "settings": {"server_url": PORTAL_OIDC_ISSUER.rstrip("/")},
            }
        ]
        if PORTAL_OIDC_ISSUER
        else [],
    }
}
MFA_ADAPTER = "portal.signing_in.adapters.SecondFactors"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_TOLERANCE = 1

# E-mail: for forgotten passwords, and to tell people of changes to their account. Unset, none is sent.
PORTAL_EMAIL_URL = env.str("PORTAL_EMAIL_URL", default="")
ACCOUNT_EMAIL_NOTIFICATIONS = bool(PORTAL_EMAIL_URL)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("PORTAL_EMAIL_FROM", default="portal@localhost")
mail = env.mail("PORTAL_EMAIL_URL")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = mail.backend, mail.host, mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail.user, mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = mail.starttls, mail.tls
EMAIL_TIMEOUT = 20

# Security. PORTAL_HTTPS is on unless the portal is run for one person on loopback.
PORTAL_HTTPS = env.bool("PORTAL_HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = PORTAL_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PORTAL_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if PORTAL_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PORTAL_HTTPS
SECURE_HSTS_PRELOAD = PORTAL_HTTPS
# Sign-ins are counted by the address that the proxy in front adds, as requests to the API are.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if PORTAL_HTTPS else 0
SESSION_COOKIE_SECURE = PORTAL_HTTPS
CSRF_COOKIE_SECURE = PORTAL_HTTPS
CSRF_FAILURE_VIEW = "portal.failures.csrf_refused"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # A nonce is sent only with a page that uses it, and none does: every script and style is a file from here.
        "script-src": ["'self'", NONCE],
        "style-src": ["'self'", NONCE],
        "img-src": ["'self'", "data:"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.authentication.TokenAuthentication",
        "portal.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["portal.authentication.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "usage.renderers.Negotiation",
    "DEFAULT_PARSER_CLASSES": ["portal.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "portal.schema.ApiSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "portal.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Usage portal",
    "DESCRIPTION": "What was used at three vendors, and how far each number can be trusted.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "portal.mirror_schema.add_mirrors"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SERVE_PERMISSIONS": ["portal.authentication.IsKnown"],
}

# Celery: one queue, one static beat entry. The truth is in PostgreSQL; a lost message costs a minute.
CELERY_BROKER_URL = REDIS_URL or "redis://unset"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "portal"
PORTAL_TICK_SECONDS = env.int("PORTAL_TICK_SECONDS", default=60)
CELERY_BEAT_SCHEDULE = {
    "tick": {
        "task": "sync.tasks.tick",
        "schedule": timedelta(seconds=PORTAL_TICK_SECONDS),
        # A tick that waited longer than the next one is due is not worth running.
        "options": {"expires": PORTAL_TICK_SECONDS},
    }
}

# The engine.
PORTAL_LEASE_SECONDS = env.int("PORTAL_LEASE_SECONDS", default=300)
PORTAL_ALLOWED_VENDOR_HOSTS = env.list("PORTAL_ALLOWED_VENDOR_HOSTS", default=[])
PORTAL_HTTP_TIMEOUT_SECONDS = env.float("PORTAL_HTTP_TIMEOUT_SECONDS", default=45.0)
PORTAL_HTTP_MAX_BYTES = env.int("PORTAL_HTTP_MAX_BYTES", default=64 * 1024 * 1024)
PORTAL_HTTP_ATTEMPTS = env.int("PORTAL_HTTP_ATTEMPTS", default=6)

# Exports: how long one may take, and how many a process of the web server sends at once.
PORTAL_EXPORT_SECONDS = env.int("PORTAL_EXPORT_SECONDS", default=3600)
PORTAL_EXPORTS_AT_ONCE = env.int("PORTAL_EXPORTS_AT_ONCE", default=1)

# Access: how often a token or a person may ask, how often an address may fail to sign in, and what staff may see.
PORTAL_API_RATE = env.str("PORTAL_API_RATE", default="600/min")
PORTAL_API_FAILURES_RATE = env.str("PORTAL_API_FAILURES_RATE", default="60/min")
STAFF_SCOPE = "portal.authentication.staff_scope"

PORTAL_LOG_FORMAT = env.choice("PORTAL_LOG_FORMAT", ("json", "console"), "console" if DEBUG else "json")
PORTAL_LOG_LEVEL = env.choice("PORTAL_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING_CONFIG = None
log_settings(PORTAL_LOG_FORMAT, PORTAL_LOG_LEVEL)
# What the environment holds that cannot be read, for the start-up checks: {variable: what it should be}.
PORTAL_UNREADABLE = env.unreadable
