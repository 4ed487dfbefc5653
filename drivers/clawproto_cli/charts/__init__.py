"""Pictures of measurements: described once (`clawproto_cli.charts.chart`), written as SVG, PNG or text."""
