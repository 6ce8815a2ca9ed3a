"""The REST API over usage: views, serializers, filters, pagination, renderers and errors."""
