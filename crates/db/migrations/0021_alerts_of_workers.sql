-- Alerts belong to the workers that raise them: which there are, their list says.
alter table alerts drop constraint alerts_alert_check;
alter table alerts add constraint alerts_alert_check check (alert ~ '^[a-z][a-z0-9_]{0,59}$');
