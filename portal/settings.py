"""Settings, read from the environment (docs/operations.md). `checks.py` and `database_checks.py` validate them."""

import gc
from pathlib import Path
from typing import Any

import django_stubs_ext

import portal.optional_imports  # noqa: F401  # before what imports them otherwise
from portal.cache import REDIS_TIMEOUT_SECONDS
from portal.environment import BASE_DIR, get_program_name, is_web_server, read_environment
from portal.error_reports import start_reports
from portal.logging import log_settings
from portal.pool import pool_options, standby_options
from portal.traces import start_traces
from sync.redis_servers import build_broker

# What is imported stays: collecting garbage in it costs a quarter of a start. PortalAdminConfig.ready ends this.
gc.disable()

# Allows type arguments on Django's classes at run time.
django_stubs_ext.monkeypatch()

env = read_environment()

DEBUG = env.bool("DEBUG", default=False)
PORTAL_DATA_DIR = Path(env.str("PORTAL_DATA_DIR", default=str(BASE_DIR / "var")))
SECRET_KEY = env.str("SECRET_KEY", default="")
# Keys of before a change: what they signed stays valid, nothing new is signed with them.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
PORTAL_ENCRYPTION_KEYS = env.list("PORTAL_ENCRYPTION_KEYS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# PostgreSQL and Redis. Where these are unset, manage.py starts embedded servers and sets them.
DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="")
PORTAL_DB_CONN_MAX_AGE = env.int("PORTAL_DB_CONN_MAX_AGE", default=60)
PORTAL_DB_POOL_SIZE = env.int("PORTAL_DB_POOL_SIZE", default=16)
database = env.database("DATABASE_URL")
# The role that `migrate` signs in with, where the application's role may not change the audit log.
PORTAL_OWNER_DATABASE = env.database("PORTAL_OWNER_DATABASE_URL")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        **database,
        # Shown in pg_stat_activity, and in the audit log for changes outside of a request.
        "OPTIONS": {"application_name": get_program_name(), **database.get("OPTIONS", {})},
        "ENGINE": "django.db.backends.postgresql",
        "CONN_MAX_AGE": PORTAL_DB_CONN_MAX_AGE,
        "CONN_HEALTH_CHECKS": True,
        # A server-side cursor outlives its transaction, and a pooler assigns the next transaction another connection.
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
}
# The threads of the web server share a pool. Other processes have few threads, with a connection each.
if is_web_server():
    DATABASES["default"]["OPTIONS"]["pool"] = pool_options(max(PORTAL_DB_POOL_SIZE, 1))
    DATABASES["default"]["CONN_MAX_AGE"] = 0
# A streaming standby that answers what only reads (portal/standby.py).
DATABASE_REPLICA_URL = env.str("DATABASE_REPLICA_URL", default="")
DATABASE_REPLICA = env.database("DATABASE_REPLICA_URL")
PORTAL_REPLICA_LAG_SECONDS = env.float("PORTAL_REPLICA_LAG_SECONDS", default=30.0)
if is_web_server() and DATABASE_REPLICA_URL:
    options = {**DATABASES["default"]["OPTIONS"], **DATABASE_REPLICA.get("OPTIONS", {})}
    DATABASES["standby"] = {
        **DATABASES["default"],
        **DATABASE_REPLICA,
        "ENGINE": DATABASES["default"]["ENGINE"],
        "OPTIONS": {**options, **standby_options(max(PORTAL_DB_POOL_SIZE, 1))},
        "CONN_MAX_AGE": 0,
    }
CACHES = {"default": {"BACKEND": "portal.cache.Cache", "LOCATION": REDIS_URL or "redis://unset"}}

INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "portal.accounts.apps.AccountsConfig",
    "portal.incidents.apps.IncidentsConfig",
    "portal.reports.apps.ReportsConfig",
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
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.RequestLogMiddleware",
    "portal.health.views.HealthMiddleware",
    "portal.middleware.BodyMiddleware",
    "portal.middleware.GZipMiddleware",
    # Outside of ConditionalGetMiddleware, whose 304 has few headers.
    "portal.accounts.throttling.RateLimitMiddleware",
    # Inside of the compression, whose output differs each time, and outside of all that changes the body.
    "django.middleware.http.ConditionalGetMiddleware",
    "portal.middleware.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.accounts.security_log.UserLogMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.accounts.audit.context.AuditMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "portal.accounts.second_factor.SignedInMiddleware",
    "portal.accounts.throttling.StaffPageMiddleware",
    "portal.standby.StandbyMiddleware",
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
                "portal.accounts.context_processors.add_sign_in_context",
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
# Static files are served from the packages' folders, without collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "portal.accounts.passwords.GuessablePasswordValidator"},
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]

# Signing in (portal/accounts): with a password, or through an OpenID Connect provider.
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
ACCOUNT_ADAPTER = "portal.accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "change_password": "portal.accounts.forms.ChangePasswordForm",
    "login": "portal.accounts.forms.LoginForm",
    "reauthenticate": "portal.accounts.forms.ReauthenticateForm",
    "reset_password": "portal.accounts.forms.ResetPasswordForm",
}
# Guesses are counted in portal/accounts/guessing.py: a limit of all requests of an address would let a person behind
# it keep out the others.
ACCOUNT_RATE_LIMITS = {"login": None}
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # administrators make the local accounts
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Usage portal: "
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
SOCIALACCOUNT_ADAPTER = "portal.accounts.adapters.SocialAccountAdapter"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True  # by the rules of the adapter
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = True
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {
    "openid_connect": {
        "provider_class": "portal.accounts.oidc.Provider",
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
MFA_ADAPTER = "portal.accounts.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_TOTP_TOLERANCE = 1
MFA_FORMS = {
    "activate_totp": "portal.accounts.forms.ActivateTOTPForm",
    "authenticate": "portal.accounts.forms.AuthenticateForm",
    "reauthenticate": "portal.accounts.forms.ReauthenticateCodeForm",
}
# Which users need a second factor, and whether the OpenID provider requires one itself.
PORTAL_SECOND_FACTOR = env.choice("PORTAL_SECOND_FACTOR", ("optional", "administrators", "all"), "optional")
PORTAL_OIDC_SECOND_FACTOR = env.bool("PORTAL_OIDC_SECOND_FACTOR", default=False)
# How long a user stays signed in: without using the pages, and altogether.
PORTAL_SESSION_IDLE_MINUTES = env.int("PORTAL_SESSION_IDLE_MINUTES", default=120)
PORTAL_SESSION_HOURS = env.int("PORTAL_SESSION_HOURS", default=12)
# How long the link of an invitation works.
PORTAL_INVITATION_HOURS = env.int("PORTAL_INVITATION_HOURS", default=72)
SESSION_ENGINE = "portal.accounts.sessions"
SESSION_COOKIE_AGE = PORTAL_SESSION_HOURS * 3600

# E-mail: for forgotten passwords, and notifications of changes to an account. Unset, none is sent.
PORTAL_EMAIL_URL = env.str("PORTAL_EMAIL_URL", default="")
ACCOUNT_EMAIL_NOTIFICATIONS = bool(PORTAL_EMAIL_URL)
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("PORTAL_EMAIL_FROM", default="portal@localhost")
mail = env.mail("PORTAL_EMAIL_URL")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = mail.backend, mail.host, mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = mail.user, mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = mail.starttls, mail.tls
EMAIL_TIMEOUT = 20

# Security. PORTAL_HTTPS is off only on loopback.
PORTAL_HTTPS = env.bool("PORTAL_HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = PORTAL_HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PORTAL_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if PORTAL_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PORTAL_HTTPS
SECURE_HSTS_PRELOAD = PORTAL_HTTPS
# Sign-ins are counted by the address that the proxy adds, like requests to the API.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if PORTAL_HTTPS else 0
SESSION_COOKIE_SECURE = PORTAL_HTTPS
CSRF_COOKIE_SECURE = PORTAL_HTTPS
CSRF_FAILURE_VIEW = "portal.error_views.csrf_failure"
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "portal.accounts.authentication.TokenAuthentication",
        "portal.accounts.authentication.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["usage.api.access.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "usage.api.renderers.FormatFirstNegotiation",
    "DEFAULT_PARSER_CLASSES": ["usage.api.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "usage.api.schema.ApiSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "usage.api.errors.exception_handler",
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
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # Every operation takes either; described here, for drf-spectacular does not know our authentication classes.
    "AUTHENTICATION_WHITELIST": [],
    "SECURITY": [{"token": []}, {"session": []}],
    "APPEND_COMPONENTS": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "A portal token, up_…"},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": "sessionid",
                "description": "The session of the admin.",
            },
        }
    },
    "SERVE_PERMISSIONS": ["usage.api.access.IsKnown"],
}

# Celery: one queue, one static beat entry (portal/beat.py). The truth is in PostgreSQL; a lost message costs a minute.
CELERY_BROKER_URL, broker_options = build_broker(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "portal"
# Workers and beat wait for Redis without limit; a hanging Redis counts as unavailable. A page that wakes workers hardly
# waits (portal/cache.py): the next tick does without it.
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    {"socket_timeout": REDIS_TIMEOUT_SECONDS, "socket_connect_timeout": REDIS_TIMEOUT_SECONDS, "max_retries": 1}
    if is_web_server()
    else {"socket_timeout": 30, "socket_connect_timeout": 5, "socket_keepalive": True}
) | broker_options
CELERY_BEAT_SCHEDULER = "portal.beat:Scheduler"
CELERY_WORKER_POOL = "portal.worker_pool:Pool"
PORTAL_TICK_SECONDS = env.int("PORTAL_TICK_SECONDS", default=60)

# The engine.
PORTAL_LEASE_SECONDS = env.int("PORTAL_LEASE_SECONDS", default=300)
PORTAL_SCRUB_DAYS = env.int("PORTAL_SCRUB_DAYS", default=30)
PORTAL_ALLOWED_VENDOR_HOSTS = env.list("PORTAL_ALLOWED_VENDOR_HOSTS", default=[])
# Environment variables that may contain a vendor's credential begin so; no other is ever sent to a vendor.
PORTAL_CREDENTIAL_PREFIX = env.str("PORTAL_CREDENTIAL_PREFIX", default="PORTAL_VENDOR_")
PORTAL_HTTP_TIMEOUT_SECONDS = env.float("PORTAL_HTTP_TIMEOUT_SECONDS", default=45.0)
PORTAL_HTTP_MAX_BYTES = env.int("PORTAL_HTTP_MAX_BYTES", default=64 * 1024 * 1024)
PORTAL_HTTP_ATTEMPTS = env.int("PORTAL_HTTP_ATTEMPTS", default=6)

# Incidents and who is notified of them.
PORTAL_URL = env.str("PORTAL_URL", default="")
PORTAL_REPORT_DOMAINS = env.list("PORTAL_REPORT_DOMAINS", default=[])
PORTAL_REPORT_FILE_MB = env.float("PORTAL_REPORT_FILE_MB", default=10)
PORTAL_DEAD_MAN_URL = env.str("PORTAL_DEAD_MAN_URL", default="")
PORTAL_ALLOWED_WEBHOOK_HOSTS = env.list("PORTAL_ALLOWED_WEBHOOK_HOSTS", default=[])
PORTAL_LATE_HOURS = env.int("PORTAL_LATE_HOURS", default=6)
PORTAL_RESTATED_SHARE = env.float("PORTAL_RESTATED_SHARE", default=0.05)
PORTAL_RESTATED_AMOUNTS = env.list("PORTAL_RESTATED_AMOUNTS", default=[])
PORTAL_DISK_FREE_MB = env.int("PORTAL_DISK_FREE_MB", default=1000)

# Exports: the longest duration, and how many a process of the web server sends at once.
PORTAL_EXPORT_SECONDS = env.int("PORTAL_EXPORT_SECONDS", default=3600)
PORTAL_EXPORTS_AT_ONCE = env.int("PORTAL_EXPORTS_AT_ONCE", default=1)
PORTAL_XLSX_MAX_ROWS = env.int("PORTAL_XLSX_MAX_ROWS", default=200_000)

# The lake: where complete days are published, how often at most, and how long the tags of calendar days are kept.
PORTAL_LAKE_URL = env.str("PORTAL_LAKE_URL", default="")
PORTAL_LAKE_MINUTES = env.int("PORTAL_LAKE_MINUTES", default=60)
PORTAL_LAKE_TAG_DAYS = env.int("PORTAL_LAKE_TAG_DAYS", default=35)

# Access: requests of a token or user, in a time and in a process at once, failed sign-ins of an address, and the
# sources that staff may see.
PORTAL_API_RATE = env.str("PORTAL_API_RATE", default="600/min")
PORTAL_API_FAILURES_RATE = env.str("PORTAL_API_FAILURES_RATE", default="60/min")
PORTAL_REQUESTS_AT_ONCE = env.int("PORTAL_REQUESTS_AT_ONCE", default=12)
# What is shown for a person where names of people may be shown at all.
PORTAL_PERSON_NAMES = env.choice("PORTAL_PERSON_NAMES", ("name", "email", "pseudonym"), "name")
STAFF_SCOPE = "portal.accounts.authentication.get_source_scope"
ARCHIVE_READER = "usage.lake.query.LakeReader"
MIRROR_AUTHENTICATION = "portal.mirrors.authenticate"

PORTAL_LOG_FORMAT = env.choice("PORTAL_LOG_FORMAT", ("json", "console"), "console" if DEBUG else "json")
PORTAL_LOG_LEVEL = env.choice("PORTAL_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING_CONFIG = None
log_settings(PORTAL_LOG_FORMAT, PORTAL_LOG_LEVEL)
PORTAL_SENTRY_DSN = env.str("PORTAL_SENTRY_DSN", default="")
start_reports(PORTAL_SENTRY_DSN)
PORTAL_TRACES_URL = env.str("PORTAL_TRACES_URL", default="")
start_traces(PORTAL_TRACES_URL)
# Variables with malformed values, for the start-up checks: {variable: what it should be}.
PORTAL_UNREADABLE = env.unreadable
PORTAL_VARIABLES = frozenset(env.names)
