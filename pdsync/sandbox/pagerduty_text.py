"""Words the sandbox's company is made of: names, titles and descriptions in several scripts."""

from __future__ import annotations

# Given name, family name, and the same in ASCII for the e-mail address.
PEOPLE = (
    ("Zoë Lindqvist", "zoe.lindqvist"),
    ("Amara Okafor", "amara.okafor"),
    ("Дарья Коваленко", "darya.kovalenko"),
    ("Mateo Núñez", "mateo.nunez"),
    ("נועה לוי", "noa.levi"),
    ("佐藤 美咲", "misaki.sato"),
    ("Priya Raghavan", "priya.raghavan"),
    ("يوسف حداد", "youssef.haddad"),
    ("Søren Kjær", "soren.kjaer"),
    ("王小明", "xiaoming.wang"),
    ("Grace O'Connell", "grace.oconnell"),
    ("김서연", "seoyeon.kim"),
    ("Ivan Petrović", "ivan.petrovic"),
    ("Chloé Dubois-Lefèvre", "chloe.dubois"),
    ("Олексій Бондар", "oleksii.bondar"),
    ("Tane Māhuika", "tane.mahuika"),
    ("Łukasz Żółkiewski", "lukasz.zolkiewski"),
    ("José María de la Cruz", "jose.delacruz"),
    ("Ayşe Yıldırım", "ayse.yildirim"),  # noqa: RUF001
    ("Nguyễn Thị Hương", "huong.nguyen"),
)
FAMILIES = (
    ("Almeida", "almeida"),
    ("Bergström", "bergstrom"),
    ("Чернов", "chernov"),
    ("Delgado", "delgado"),
    ("Eze", "eze"),
    ("פרידמן", "friedman"),
    ("Gröning", "groning"),
    ("حسن", "hassan"),
    ("Ishikawa", "ishikawa"),
    ("Jónsdóttir", "jonsdottir"),
    ("金田", "kaneda"),
    ("Mbeki", "mbeki"),
    ("Novák", "novak"),
    ("Ó Briain", "obriain"),
    ("Strauß", "strauss"),
)

JOBS = (
    "Site Reliability Engineer",
    "Senior Backend Engineer",
    "Engineering Manager",
    "Database Administrator",
    "Ingénieure de production",
    "Support Lead (EMEA)",
    None,
)
ROLES = ("user", "user", "user", "limited_user", "admin", "observer", "read_only_user", "owner")
COLORS = ("purple", "green", "teal", "red", "dark-slate-blue", "tomato", "medium-purple")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Jerusalem", "Asia/Tokyo", "America/Lima", "Europe/London")

TEAMS = (
    ("Payments", "Cards, wallets, payouts and the ledger behind them."),
    ("Platform", "Clusters, networking, build and delivery."),
    ("Search & Discovery", None),
    ("Данные", "Потоки, витрины и отчёты."),
    ("支払い基盤", "決済と請求の共通基盤。"),
    ("לקוחות", "צוות הממשק מול הלקוחות"),
    ("Identité & accès", "Connexion, SSO, gestion des droits."),
    ("Mobile 📱", "iOS and Android apps."),
)

# The first services of every company; a demo can rely on them.
SERVICES = (
    ("Checkout API", "Takes the basket to the payment provider and back."),
    ("Ledger", "Double-entry book of everything that moves money."),
    ("Search", "Full text and vector search over the shop's catalogue."),
    ("Identity Provider", "OIDC for people and machines."),
    ("Notifications", "E-mail, push and SMS; templates in 14 languages."),
    ("Payments Gateway", "Card acquiring; PCI zone; changes need two approvals."),
    ("Recherche géolocalisée", "Distances, itinéraires et zones de livraison."),
    ("Каталог товаров", "Карточки, цены, остатки."),
    ("在庫管理", "倉庫ごとの在庫数を管理するサービス。"),
    ("שירות ההזמנות", "ניהול הזמנות מרגע הקנייה ועד המסירה"),
    ("خدمة التوصيل", "تتبع الشحنات وإشعارات التسليم"),
    ("`cron` runner <b>legacy</b>", "Old jobs | do not add new ones -- see the _migration_ page."),
)
SUBJECTS = (
    "Orders", "Invoices", "Pricing", "Inventory", "Shipping", "Fraud", "Recommendations", "Sessions", "Media",
    "Webhooks", "Exports", "Réservations", "Склад", "予約", "Loyalty", "Tax", "Chat", "Consent", "Geo", "Billing",
)  # fmt: skip
PARTS = ("API", "Worker", "Stream", "Cache", "DB", "Gateway", "Batch", "Proxy", "Index", "UI")
PLACES = ("", "EU", "US", "APAC", "(canary)", "v2", "internal", "🌍")

PARAGRAPHS = (
    "Runs three replicas in each zone; loses one without anybody noticing, two with somebody noticing.",
    "Writes go through the queue; reads may lag by up to 90 s after a failover.",
    "Known trouble: the pool is exhausted when the upstream answers slower than 2 s, see the runbook.",
    'Dashboards: latency, saturation, errors; the "golden" board has them on one page.',
    "Les sauvegardes sont vérifiées chaque nuit ; la restauration est testée une fois par mois.",
    "При сбое сначала переключить трафик, потом искать причину.",  # noqa: RUF001
    "障害時はまずトラフィックを切り替え、その後に原因を調査すること。",
    "במקרה של תקלה יש להעביר תעבורה לאזור השני.",
    "Owners rotate each quarter 🔁; ask in the team's channel, not in private.",
)  # fmt: skip

# {s} is the service's name, {n} a number.
TITLES = (
    "High error rate on {s}: {n}% of requests answer 5xx",
    "{s}: p99 latency above {n} ms for 10 minutes",
    "Disk {n}% full on the primary of {s}",
    "[FIRING:{n}] KubePodCrashLooping ({s})",
    "Queue depth of {s} is {n}000 and growing",
    "Certificate of {s} expires in {n} hours",
    "Échec de connexion à la base pour {s} ({n} tentatives)",
    "Сервис {s} не отвечает уже {n} минут",
    "{s}のレイテンシが上昇しています（{n}ms）",  # noqa: RUF001
    "{s} 磁盘使用率已达 {n}%",
    "שגיאות ב-{s}: {n} בדקה האחרונה",
    "انقطاع في {s} منذ {n} دقيقة",
    "🔥 {s} is down in {n} regions 🔥",
    "Out of memory: killed process {n} on {s}",
    "Synthetic check «login» failed {n} times for {s}",
)
ODD_TITLES = (
    "<script>alert({n})</script> in the logs of {s}",
    "`rm -rf /var/lib/{n}` was run on {s} | who? | @here",
    "Backup of {s} [failed](https://example.com/{n}) ``` unfinished fence",
    "<!-- {s} --> &amp; \"quotes\" \\ backslash {n} '${{ secrets }}'",
    "{s}: tab\tand a line\nbreak in the subject ({n})",
)  # fmt: skip

CHANNELS = (
    ("api", "Triggered through the API."),
    ("web_trigger", "Triggered through the website."),
    ("email", "Triggered by an email."),
    ("nagios", "CRITICAL: socket timeout after 10 seconds"),
)

PRIORITIES = (
    ("P1", "Outage or loss of data; everybody drops what they do."),
    ("P2", "Many customers are held up."),
    ("P3", "Some customers are held up, or soon will be."),
    ("P4", "To be done this week."),
    ("P5", "Cosmetic."),
)
VENDORS = (
    ("Datadog", "https://www.datadoghq.com"),
    ("Prometheus", "https://prometheus.io"),
    ("Amazon CloudWatch", "https://aws.amazon.com/cloudwatch"),
    ("Nagios", "https://www.nagios.org"),
    ("Sentry", "https://sentry.io"),
)
BUSINESS_SERVICES = (
    ("Shop", "What customers see.", "shop-owner@example.com"),
    ("Livraison", "Du dépôt à la porte du client.", None),
    ("Backoffice", None, "ext. 4711"),
)
EXTENSION_SCHEMAS = (
    ("generic_v2_webhook", "Generic V2 Webhook"),
    ("slack", "Slack"),
    ("service_now", "ServiceNow"),
)
ABILITIES = (
    "sso",
    "teams",
    "read_only_users",
    "team_responders",
    "service_support_hours",
    "urgencies",
    "custom_fields",
    "priorities",
    "business_services",
)
INTEGRATION_TYPES = (
    ("events_api_v2_inbound_integration", "Events API v2"),
    ("generic_email_inbound_integration", "Email"),
    ("nagios_inbound_integration", "Nagios"),
)

TAGS = ("critical", "pci", "eu", "us", "batch", "frontend", "données", "夜間", "legacy", "tier-1", "24x7", "vendor")
WEBHOOK_EVENTS = (
    "incident.triggered",
    "incident.acknowledged",
    "incident.resolved",
    "incident.priority_updated",
    "service.created",
    "service.updated",
    "service.deleted",
)
