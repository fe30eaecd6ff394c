-- A product as it was stored when the field was a time.
insert into products (account_id, external_id, stub, name, content)
select id, 'old', false, 'Old', '{"expiration_time": "2022-01-02T15:04:05Z"}' from accounts;
